"""TorchServe's error answers become this service's errors, without its Java text and paths."""

from __future__ import annotations

import json
import re

from marserve.torchserve.key_file import REFUSED_TOKEN
from marserve.web.errors import HandlerRefused, ImageTooLarge, InferenceFailed, ModelUnavailable, Overloaded, WebError
from marserve.web.upstream.connection import Reply

#: TorchServe names its errors after Java's classes, our handler after what is wrong.
JAVA_NAME = re.compile(r".*(Exception|Error|Throwable)")
HANDLER_NAME = re.compile(r"[A-Z][A-Za-z]{1,40}")
#: No message of the handler is longer.
MAX_MESSAGE_LENGTH = 1000

WORKER_DIED = "Worker died."


class ModelGone(Exception):  # noqa: N818
    """TorchServe does not serve this model, or this version of it."""


class WorkerDied(Exception):  # noqa: N818
    """The worker ended while it worked on this request; it is restarted."""


def to_error(reply: Reply) -> WebError | ModelGone | WorkerDied:
    """What an answer with another status than 200 means."""
    content = _read(reply.body)
    kind, message = content.get("type"), content.get("message")
    if isinstance(kind, str) and isinstance(message, str) and _is_from_handler(kind):
        return HandlerRefused(reply.status, kind, message[:MAX_MESSAGE_LENGTH])
    if reply.status == 404:
        return ModelGone()
    if message == WORKER_DIED:
        return WorkerDied()
    if reply.status == 413:
        return ImageTooLarge("The picture has more bytes than TorchServe takes: send a smaller one.")
    if kind == "ServiceUnavailableException":  # its text speaks of missing workers for a full queue as well
        return Overloaded("More requests are waiting than can be answered soon: try again in a moment.")
    if kind == REFUSED_TOKEN:
        return ModelUnavailable("The model server's tokens have just changed: try again in a few seconds.")
    if reply.status == 507:
        return ModelUnavailable(
            "The model's worker ran out of memory and is being restarted: try again in a few seconds."
        )
    return InferenceFailed("The model server failed on this request: try again, or with another picture.")


def _is_from_handler(kind: str) -> bool:
    return HANDLER_NAME.fullmatch(kind) is not None and JAVA_NAME.fullmatch(kind) is None


def _read(body: bytes) -> dict[str, object]:
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
