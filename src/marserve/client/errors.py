"""The errors that the client raises: one family, so that ``except ClientError`` catches whatever a call can fail with.

ClientError
├── PictureUnreadable      the picture's file cannot be read; nothing was sent
├── CredentialsMissing     TorchServe's token can be neither read nor renewed; nothing was sent
├── Unreachable            no connection, or it broke, until the deadline: start the service, or try later
├── TimedOut               no answer before the deadline: try later, or with a longer one
├── InvalidAnswer          an answer that is none of this service's: check the address
├── Refused                status 400 to 499: change the request as the message says; 429: send fewer of them
├── ServerOverloaded       status 503, until the deadline: try later, after ``retry_after_s`` seconds at least
└── ServerFailed           any other status from 500 on: the server's log says more; 504: it had not enough time, until
                           the deadline

What a server says about a failure is in ``status``, ``type`` and ``message``. A wrong address raises ValueError.
"""
# ruff: noqa: N818 - the names say what happened

from __future__ import annotations

import json

from marserve.errors import MarserveError


class ClientError(MarserveError):
    """Any failure of a call."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,  # noqa: A002
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        #: For a person: what happened and what to do.
        self.message = message
        #: HTTP status; None where no server answered.
        self.status = status
        #: The server's name for the failure, such as ``InvalidImage``; where no server answered, this class's.
        self.type = type or self.__class__.__name__
        #: Seconds that the server says to wait; None where it does not.
        self.retry_after_s = retry_after_s

    def as_json(self) -> dict[str, object]:
        """The error shape of every level, with a null ``code`` where no server answered."""
        return {"code": self.status, "type": self.type, "message": self.message}


class PictureUnreadable(ClientError):
    """The picture's file cannot be read on this machine."""


class Unreachable(ClientError):
    """No connection to the server could be made, or it broke, until the deadline."""


class TimedOut(ClientError):
    """The server did not answer before the deadline."""


class CredentialsMissing(ClientError):
    """TorchServe's token can be neither read nor renewed."""


class InvalidAnswer(ClientError):
    """The server answered something that this client does not understand."""


class Refused(ClientError):
    """A status from 400 to 499."""


class ServerFailed(ClientError):
    """A status from 500 on, other than 503; 504 with a Retry-After until the deadline."""


class ServerOverloaded(ClientError):
    """503, until the deadline."""


def error_of(status: int, body: bytes, retry_after: str | None = None) -> ClientError:
    """What an answer with a status from 400 on means."""
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        content = {}
    message = str(content.get("message") or f"The server answered with status {status} and no message.")
    kind = str(content["type"]) if content.get("type") else None
    # A date is allowed as well; none of the servers here sends one.
    seconds = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    error = ServerOverloaded if status == 503 else Refused if status < 500 else ServerFailed
    return error(message, status=status, type=kind, retry_after_s=seconds)
