"""The one error family: every failure that a caller can see, with its HTTP status and what to do about it."""

from __future__ import annotations

#: For whoever runs the server.
HOW_TO_READ_HEIC = 'pip install "marserve[heif]", or in a clone ./scripts/marserve setup heif, then start it again'


class RequestError(Exception):
    """A request that cannot be answered; it never affects the other requests of its batch.

    The message is sent to the caller, so it says what to do and holds no path and no content of the request.
    """

    status: int = 400
    #: HTTP reason phrase: TorchServe writes it to the status line as it is, so it must stay plain ASCII.
    phrase: str = "Bad Request"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        #: Its name for programs, sent as ``type``.
        self.kind = type(self).__name__

    def alone(self) -> RequestError:
        """Itself, to be kept as an answer, without the frames that it came through.

        They hold the picture, and with the list of answers they are a cycle, which the interpreter looks for so seldom
        that a worker has held hundreds of megabytes.
        """
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)

    def as_json(self) -> dict[str, object]:
        """The error shape of every level: ``{"code", "type", "message"}``."""
        return {"code": self.status, "type": self.kind, "message": str(self)}


class InvalidRequest(RequestError):  # noqa: N818 - these names are sent to callers as the error's `type`
    """No picture, several where one is expected, or a body of a form that is not understood."""


class InvalidParameter(RequestError):  # noqa: N818
    """A parameter with an impossible value, such as ``top_k`` outside 1 to 1000."""


class InvalidImage(RequestError):  # noqa: N818
    """The bytes begin like a picture but cannot be read to their end: empty, truncated or damaged."""


class ImageTooLarge(RequestError):  # noqa: N818
    """More bytes or more pixels than the settings allow."""

    status = 413
    phrase = "Payload Too Large"


class UnsupportedImage(RequestError):  # noqa: N818
    """Not a picture format that is read here."""

    status = 415
    phrase = "Unsupported Media Type"


class NotExplainable(RequestError):  # noqa: N818
    """The network has no pooled linear head, so there is no class activation map."""

    status = 501
    phrase = "Not Implemented"


class ConfigurationError(Exception):
    """A setting, a label file or an archive that stops start-up; names it, its value and a valid one."""
