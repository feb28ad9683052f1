"""Every failure as an answer of one shape: ``{"code", "type", "message"}``."""

from __future__ import annotations

import re

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from marserve.web.errors import InvalidParameter, InvalidRequest, MethodNotAllowed, NotFound, WebError

#: Where the error has a key ``error`` besides: the contract of /predict, and the Open Inference Protocol's own shape.
ERROR_KEY_PATHS = re.compile(r"/(predict|v2(/.*)?)")


def error_response(error: WebError, scope: Scope, headers: dict[str, str] | None = None) -> JSONResponse:
    """``error`` as the answer to the request of ``scope``."""
    content = error.as_json()
    if ERROR_KEY_PATHS.fullmatch(scope["path"]):
        content["error"] = str(error)
    return JSONResponse(content, error.code, {**(headers or {}), **error.headers()})


def handle_errors(app: FastAPI) -> None:
    """Have ``app`` answer its own errors, FastAPI's and Starlette's in one shape."""
    app.add_exception_handler(WebError, _answer_web_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)


async def _answer_web_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WebError)  # noqa: S101 - registered for nothing else
    request.state.log["error"] = error.type
    return error_response(error, request.scope)


async def _answer_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    # The value itself is left out: it would be repeated into pages and logs.
    problems = [f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors()]
    return error_response(InvalidParameter("; ".join(problems) + "."), request.scope)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    known: dict[int, WebError] = {
        404: NotFound("There is nothing at this address; /docs lists what there is."),
        405: MethodNotAllowed("This address is not for this method; /docs lists what there is."),
    }
    answer = known.get(error.status_code, InvalidRequest("The request cannot be understood; see /docs."))
    return error_response(answer, request.scope, dict(error.headers or {}))
