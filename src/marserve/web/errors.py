"""The one error family: each class is a failure that a caller can see, with its HTTP status and what to do about it.

Their names are sent to callers as the error's ``type``.
"""
# ruff: noqa: N818

from __future__ import annotations

from typing import ClassVar

#: Seconds after which it is worth while to ask again: a full queue empties quickly, a server takes longer to start.
RETRY_BUSY_S = 1
RETRY_RESTART_S = 5


class WebError(Exception):
    """A request that is answered with an error. The message is sent to the caller and says what to do."""

    status: ClassVar[int] = 500
    #: For the header Retry-After, in whole seconds.
    retry_after_s: int | None = None

    @property
    def code(self) -> int:
        """The HTTP status."""
        return self.status

    @property
    def type(self) -> str:
        """The kind of error, for programs."""
        return type(self).__name__

    def as_json(self) -> dict[str, object]:
        """The error shape of every level: ``{"code", "type", "message"}``."""
        return {"code": self.code, "type": self.type, "message": str(self)}

    def headers(self) -> dict[str, str]:
        """Headers that the answer has besides."""
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}


class InvalidRequest(WebError):
    """No picture, several where one is expected, or a body of a form that is not understood."""

    status = 400


class InvalidParameter(WebError):
    """A parameter with an impossible value."""

    status = 400


class InvalidImage(WebError):
    """A picture without a single byte; all other damage is found by the handler."""

    status = 400


class ApiKeyRequired(WebError):
    """No API key, or none that is known."""

    status = 401

    def headers(self) -> dict[str, str]:
        """How to show a key."""
        return {"WWW-Authenticate": "Bearer"}


class NotFound(WebError):
    """There is nothing at this address."""

    status = 404


class UnknownModel(WebError):
    """No such model, or no such version of it, is served."""

    status = 404


class MethodNotAllowed(WebError):
    """The address exists, but not for this method."""

    status = 405


class UploadTimeout(WebError):
    """The body did not arrive in time."""

    status = 408


class ImageTooLarge(WebError):
    """More bytes or pixels than the settings allow."""

    status = 413


class UnsupportedEncoding(WebError):
    """A compressed body: pictures are compressed already."""

    status = 415


class RateLimited(WebError):
    """This caller asks more often than it may."""

    status = 429

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class InternalError(WebError):
    """A bug of this service; its log tells more under the request's id."""

    status = 500


class InferenceFailed(WebError):
    """TorchServe failed on this request, or answered something that cannot be understood."""

    status = 502


class Overloaded(WebError):
    """More requests at once than can be worked on: here, or in TorchServe's queue."""

    status = 503
    retry_after_s = RETRY_BUSY_S


class ModelUnavailable(WebError):
    """TorchServe, or the model's workers, are not there; they are restarted by themselves."""

    status = 503
    retry_after_s = RETRY_RESTART_S


class DeadlineExceeded(WebError):
    """No answer in time."""

    status = 504
    retry_after_s = RETRY_RESTART_S


class HandlerRefused(WebError):
    """What the model's handler has to say about this picture, passed on as it is."""

    def __init__(self, code: int, kind: str, message: str) -> None:
        super().__init__(message)
        self._code = code
        self._kind = kind

    @property
    def code(self) -> int:
        """The handler's status."""
        return self._code

    @property
    def type(self) -> str:
        """The handler's name for it."""
        return self._kind
