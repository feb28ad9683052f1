"""The failures that a caller of the web service can see, as answers of one shape.

The handler's own (``InvalidImage``, ...) are used here as they are, so that an error has one name at both levels; those
below are what only this service can say. Their names are sent to callers as the error's ``type``.
"""
# ruff: noqa: N818

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from marserve.handler.resnet18.errors import InvalidParameter, InvalidRequest, RequestError
from marserve.web.content import render_page, respond, root_of

#: What OPTIONS * answers: the methods of all addresses together.
ALL_METHODS = "GET, HEAD, POST, PUT"

#: Longer addresses are nobody's slip.
MAX_ADVISED_PATH = 100

#: Seconds after which it is worth while to send again: a full queue empties quickly, a server takes longer to start.
RETRY_BUSY_S = 1
RETRY_RESTART_S = 5


class WebError(RequestError):
    """A request that is answered with an error. The message is sent to the caller and says what to do."""

    #: For the header Retry-After, in whole seconds.
    retry_after_s: int | None = None

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}


class ApiKeyRequired(WebError):
    status = 401

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class ForeignPage(WebError):
    """A page of another origin had a visitor's browser send this, unasked."""

    status = 403


class NotFound(WebError):
    status = 404


class UnknownModel(WebError):
    status = 404


class FeedbackOff(WebError):
    """Reports of wrong answers are kept only where the operator has named a folder for them."""

    status = 404


class MethodNotAllowed(WebError):
    status = 405


class UploadTimeout(WebError):
    status = 408


class UnsupportedEncoding(WebError):
    """A compressed body: pictures are compressed already."""

    status = 415


class PictureQuarantined(WebError):
    """Workers ended under this picture, by themselves, while others were answered: it is sent to none any more."""

    status = 422

    def __init__(self) -> None:
        super().__init__(
            "This picture is refused, since the model's workers ended under it: open it in another program, save it "
            "there as a new file, and send that."
        )


class RateLimited(WebError):
    status = 429

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HeadTooLarge(WebError):
    status = 431


class InternalError(WebError):
    """A bug of this service; its log says more under the request's id."""

    status = 500


class InferenceFailed(WebError):
    """TorchServe failed on this request, or answered something that cannot be understood."""

    status = 502


class Overloaded(WebError):
    """More requests at once than can be worked on: here, or in TorchServe's queue."""

    status = 503
    retry_after_s = RETRY_BUSY_S


class WouldBeLate(WebError):
    """By what is known of the workers, the answer would come after the time that the caller gives: it is refused."""

    status = 503

    def __init__(self, late_s: float, *, would_always_be: bool = False) -> None:
        """``late_s`` is by how much: after that time what waits would be done. ``would_always_be``: nothing waits."""
        self.retry_after_s = None if would_always_be else max(math.ceil(late_s), 1)
        advice = "" if would_always_be else f"try again in {self.retry_after_s} s, or "
        super().__init__(
            f"An answer would come {max(late_s, 0.001) * 1000:.0f} ms too late, by the time that others took just now: "
            f"{advice}give it more time in X-Request-Timeout-Ms."
        )


class ModelUnavailable(WebError):
    """TorchServe, or the model's workers, are not there; they are restarted by themselves."""

    status = 503
    retry_after_s = RETRY_RESTART_S


class DeadlineExceeded(WebError):
    status = 504
    retry_after_s = RETRY_RESTART_S


class StorageFull(WebError):
    """There is no room for a report."""

    status = 507


class HandlerRefused(WebError):
    """What the model's handler has to say about this picture, passed on as it is."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


#: Of a part of the header Accept.
QUALITY = re.compile(r"\bq\s*=\s*(\d(?:\.\d+)?)")
#: In English and Chinese, over the message that a browser shows.
TITLES: dict[type[WebError], tuple[str, str]] = {
    NotFound: ("Page not found", "找不到页面"),
    MethodNotAllowed: ("This address is for programs", "此地址供程序调用"),
}


def error_content(error: RequestError) -> dict[str, object]:
    """``{"code", "type", "message", "error"}``: the shape of every level, and the message once more as ``error``, the
    key of the Open Inference Protocol and of the tutorial's /predict.
    """
    return {**error.as_json(), "error": str(error)}


def error_response(error: RequestError, headers: dict[str, str] | None = None) -> JSONResponse:
    own = error.headers() if isinstance(error, WebError) else {}
    return JSONResponse(error_content(error), error.status, {**(headers or {}), **own})


def handle_errors(app: FastAPI) -> None:
    """Have ``app`` answer its own errors, FastAPI's and Starlette's in one shape."""
    for family in (RequestError, RequestValidationError, HTTPException):
        app.add_exception_handler(family, _answer)
    app.add_exception_handler(Exception, _leave)


def _leave(_: Request, error: Exception) -> Response:
    """A bug is answered by RequestObservation, for FastAPI's routes and all else."""
    raise error


def answer_error(request: Request, error: RequestError) -> Response:
    """The response; the log gets the error's kind."""
    request.state.log["error"] = error.kind
    return error_response(error)


async def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestError):
        return answer_error(request, error)
    if isinstance(error, RequestValidationError):
        return error_response(InvalidParameter(problems_of(error.errors())))
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    headers = dict(error.headers or {})
    if error.status_code == 405:
        return _answer_method(request, headers["Allow"])
    if error.status_code == 404:
        if request.scope["path"] == "*":
            return _answer_method(request, ALL_METHODS)
        message = f"There is nothing at this address; {_advise(request)}/docs lists what there is."
        return _answer_page(request, NotFound(message), "此地址没有内容。", headers)
    return error_response(InvalidRequest("The request cannot be understood; see /docs."), headers)


def problems_of(problems: Sequence[Any]) -> str:
    """What pydantic found wrong. The value itself is left out: it would be repeated into pages and logs."""
    return "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in problems) + "."


def _answer_method(request: Request, allowed: str) -> Response:
    """405, or what OPTIONS asks for; a browser's, for a page of another origin, is refused here: it may not send."""
    methods = set(allowed.split(", "))
    headers = {"Allow": ", ".join(sorted({*methods, "OPTIONS"}))}
    if request.method == "OPTIONS" and "origin" not in request.headers:
        return Response(status_code=204, headers=headers)
    wanted = " or ".join(sorted(methods - {"HEAD"}))
    error = MethodNotAllowed(f"Use {wanted} at this address; /docs lists what there is.")
    in_chinese = f"此地址只接受 {wanted.replace('or', '或')} 请求，不能在浏览器中直接打开。"
    return _answer_page(request, error, in_chinese, headers)


def _answer_page(request: Request, error: WebError, in_chinese: str, headers: dict[str, str]) -> Response:
    """``error`` for a program, or for a person whose browser wants a page."""
    accept = request.headers.get("accept", "")
    if _quality(accept, "text/html") <= _quality(accept, "application/json"):
        return error_response(error, headers)
    title, title_zh = TITLES[type(error)]
    values = {"status": str(error.status), "title": title, "message": str(error)}
    values |= {"title_zh": title_zh, "message_zh": in_chinese}
    page = render_page(request, "problem.html", root_of(request), values)
    return respond(request, page, headers, error.status)


def _quality(accept: str, media_type: str) -> float:
    """How much the header Accept wants ``media_type`` itself, from 0 to 1; programs say */* or nothing."""
    for name, _, parameters in (part.partition(";") for part in accept.lower().split(",")):
        if name.strip() == media_type:
            given = QUALITY.search(parameters)
            return float(given[1]) if given else 1.0
    return 0.0


def _advise(request: Request) -> str:
    """What may have been meant by an address that there is not; empty where nothing comes near."""
    spelled = [segment.lower() for segment in request.scope["path"].split("/") if segment]
    prefix, below = "".join(spelled[:1]), spelled[1:]
    any_method = {Match.PARTIAL, Match.FULL}
    near = [
        (spelled, any_method, " "),
        (below, any_method, f" A proxy that serves this below /{prefix} must remove that. "),
    ]
    if request.method == "PUT":
        why = " (curl -T appends the file's name to an address that ends in a slash.) "
        near.append((spelled[:-1], {Match.FULL}, why))
    for segments, wanted, why in near:
        address = "/" + "/".join(segments)
        if not segments or len(address) > MAX_ADVISED_PATH or address == request.scope["path"]:
            continue
        scope = {"type": "http", "method": "PUT", "path": address, "root_path": "", "headers": []}
        if any(route.matches(scope)[0] in wanted for route in request.app.routes):
            return f"did you mean {address}?{why}"
    return ""
