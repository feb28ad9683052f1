"""Errors that end a command with a message and no traceback."""

from __future__ import annotations


class MarserveError(Exception):
    """The base of all errors that a person can put right: the message says what happened and what to do."""

    #: With which a command ends.
    exit_status = 1


class StopRequestedError(BaseException):
    """A signal asked this process to end. Like KeyboardInterrupt it is no Exception, so that nothing swallows it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
