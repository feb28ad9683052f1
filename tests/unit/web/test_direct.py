"""The short way to the endpoints for pictures reads a request as FastAPI's own way does."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from marserve.handler.resnet18.errors import InvalidParameter
from marserve.web.errors import handle_errors
from marserve.web.routes.direct import DirectRoute, parameter_reader
from marserve.web.routes.pictures import router
from tests.unit.web.service import fetch

pytestmark = pytest.mark.anyio

ROUTES = [route for route in router.routes if isinstance(route, DirectRoute)]
VALUES = ["", "1", "5", " 5", "+5", "5.0", "0", "1000", "1001", "-3", "1e2", "x", "zh", "ZH", "en", "png", "resnet18"]
VALUES += [
    "None",
    "\u00e9",
    "\uff15",
    "true",
    "281",
    "0x1",
    "1_0",
    "9" * 20,
    "a" * 201,
    "https://e.example/" + "a" * 3000,
]


def spying(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """What has the signature of ``endpoint``, and answers with what it was called with."""

    @functools.wraps(endpoint)
    async def spy(request: Request, **parameters: object) -> Response:
        return JSONResponse(parameters)

    return spy


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
async def test_parameters_are_read_as_fastapi_reads_them(route: DirectRoute) -> None:
    app = FastAPI()
    handle_errors(app)
    app.add_api_route("/", spying(route.endpoint), response_model=None)
    app.state.name = "test"
    read = parameter_reader(route.endpoint)
    names = [field.alias for field in route.dependant.query_params]
    chance = random.Random(5)  # noqa: S311 - no secret
    for _ in range(300):
        chosen = chance.sample(names, chance.randint(0, len(names)))
        query = urlencode([(name, chance.choice(VALUES)) for name in chosen])
        expected = await read_by_fastapi(app, query)
        for _ in range(2):  # the second time, it is remembered
            assert read_directly(read, query) == expected, query


def read_directly(read: Callable[[bytes], dict[str, Any]], query: str) -> dict[str, Any] | str:
    """The parameters, or what is wrong with them."""
    try:
        return read(query.encode())
    except InvalidParameter as error:
        return str(error)


async def read_by_fastapi(app: FastAPI, query: str) -> dict[str, Any] | str:
    async def with_query(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "query_string": query.encode(), "state": {"log": {}}}, receive, send)

    parameters: dict[str, Any] = json.loads(await fetch(with_query, "/", {}))
    message: str | None = parameters.get("message")
    return message or parameters
