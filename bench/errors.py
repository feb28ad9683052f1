"""What ends the benchmark, or one candidate's part of it, with a message."""

from __future__ import annotations

from marserve.errors import MarserveError


class BenchError(MarserveError):
    """The message says what happened and what to do."""


class CandidateError(BenchError):
    """One candidate cannot be measured; the others go on, and the report has the reason."""


class NoGpuError(CandidateError):
    """Nothing can be measured on a GPU; the message says why."""


class InstallationError(CandidateError):
    """No variant of a peer can be measured, because its packages cannot be installed."""
