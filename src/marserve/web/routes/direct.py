"""Endpoints for pictures, reached without FastAPI's layers, which cost more than all the rest of the web service.

FastAPI has the same routes: it describes them in /openapi.json, and answers other methods at their addresses.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import lru_cache
from typing import Any, get_type_hints

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import ValidationError, create_model
from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from marserve.handler.resnet18.errors import InvalidParameter, RequestError
from marserve.web.errors import answer_error, problems_of
from marserve.web.routes import check_parameters

#: Query strings whose parameters are remembered: programs send the same few again and again.
REMEMBERED_QUERIES = 256
#: Bytes of the longest of them; longer ones have a picture's address, which is another one each time.
MAX_REMEMBERED_QUERY = 100

Endpoint = Callable[..., Awaitable[Response]]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class DirectRoute(APIRoute):
    """Its endpoint takes the request and query parameters, and answers with a response; its dependencies take the
    request, and raise what they have against it. A parameter that the signature does not have is refused.
    """

    def get_route_handler(self) -> Handler:
        """What FastAPI calls in place of its own reading and writing."""
        endpoint: Endpoint = self.endpoint
        admissions = [depends.dependency for depends in self.dependencies if depends.dependency is not None]
        read_parameters = parameter_reader(endpoint)

        async def handle(request: Request) -> Response:
            for admit in admissions:
                await admit(request)
            return await endpoint(request, **read_parameters(request.scope["query_string"]))

        return handle


class DirectRouting:
    """ASGI middleware, innermost: what is for a ``DirectRoute`` of ``routers`` goes there; the rest to FastAPI."""

    def __init__(self, app: ASGIApp, routers: Iterable[APIRouter]) -> None:
        self._app = app
        routes = [route for router in routers for route in router.routes if isinstance(route, DirectRoute)]
        self._handlers = {
            (method, route.path): (route, route.get_route_handler())
            for route in routes
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._handlers.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], handle = found
        request = Request(scope, receive)
        try:
            response = await handle(request)
        except RequestError as error:
            response = answer_error(request, error)
        await response(scope, receive, send)


def parameter_reader(endpoint: Endpoint) -> Callable[[bytes], dict[str, Any]]:
    """What reads a query string into the parameters of ``endpoint``, by its signature, as FastAPI would.

    It raises InvalidParameter.
    """
    hints = get_type_hints(endpoint, include_extras=True)
    _, *parameters = inspect.signature(endpoint).parameters.values()
    model = create_model("Parameters", **{each.name: (hints[each.name], each.default) for each in parameters})  # type: ignore[call-overload]

    def read(query: bytes) -> dict[str, Any]:
        given = QueryParams(query)
        try:
            read = dict(model.model_validate(dict(given)))
        except ValidationError as exc:
            raise InvalidParameter(problems_of(exc.errors())) from exc
        check_parameters(given, read)
        return read

    remember = lru_cache(REMEMBERED_QUERIES)(read)
    return lambda query: (remember if len(query) <= MAX_REMEMBERED_QUERY else read)(query)
