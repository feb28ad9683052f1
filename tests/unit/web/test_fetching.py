"""Pictures by address: none that only this machine can reach, whatever address, name servers and redirects say."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import random
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from marserve.handler.resnet18.errors import InvalidRequest, RequestError
from marserve.web import fetching
from marserve.web.fetching import Fetcher, is_public
from tests.cases.fetched_addresses import (
    HOSTS_OF_THIS_MACHINE,
    NO_ADDRESSES,
    NOT_PUBLIC,
    PUBLIC,
    REDIRECTS_INSIDE,
)
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service, StartService, form
from tests.unit.web.test_error_shape import check_shape

pytestmark = pytest.mark.anyio

PICTURE = b"\xff\xd8\xff" + b" a photograph" * 10
NAMES = {"public.example": ["127.0.0.1"], "inside.example": ["127.0.0.2"], "mixed.example": ["127.0.0.1", "127.0.0.2"]}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Internet:
    """A server on all of 127.0.0.0/8, of which 127.0.0.1 plays the public one, and everything else the inside."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.looked_up: list[str] = []
        self.answer: Answer = self._picture
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def look_up(self, host: str) -> list[str]:
        self.looked_up.append(host)
        if host not in NAMES:
            raise socket.gaierror("no such name")
        return NAMES[host]

    @staticmethod
    def is_public(address: str) -> bool:
        return address == "127.0.0.1"

    def options(self) -> dict[str, Any]:
        return {"look_up": self.look_up, "is_public": self.is_public, "ports": frozenset([self.port, 80, 443])}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.answer(request)

    async def _picture(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=PICTURE)


def listen_where_nobody_calls() -> socket.socket:
    """On a port below those that systems hand out: one of them may have been another test's, which somebody still asks
    for it.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError):
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    raise OSError("no port of a hundred is free")


@pytest.fixture
async def internet(anyio_backend: str) -> AsyncIterator[Internet]:
    made = Internet()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listening = listen_where_nobody_calls()
    await web.SockSite(runner, listening).start()
    made.port = listening.getsockname()[1]
    yield made
    await runner.cleanup()


@pytest.fixture
async def fetcher(internet: Internet) -> AsyncIterator[Fetcher]:
    """For which 127.0.0.1 is public."""
    made = Fetcher(10_000, **internet.options())
    yield made
    await made.close()


async def refusal(fetcher: Fetcher, address: str) -> RequestError:
    with pytest.raises(RequestError) as refused:
        await fetcher.fetch(address)
    return refused.value


@pytest.mark.parametrize("address", PUBLIC)
async def test_public_addresses_are_known(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", [address for group in NOT_PUBLIC.values() for address in group])
async def test_addresses_that_are_not_public_are_known(address: str) -> None:
    assert not is_public(address)


async def test_an_address_of_this_machine_is_not_public(monkeypatch: pytest.MonkeyPatch) -> None:
    class Probe:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> Probe:
            return self

        def __exit__(self, *_: object) -> None: ...
        def connect(self, address: tuple[str, int]) -> None:
            self.address = address

        def getsockname(self) -> tuple[str, int]:
            return self.address if self.address[0] == "8.8.4.4" else ("192.168.0.2", 1)

    monkeypatch.setattr("marserve.web.fetching.socket.socket", Probe)
    assert not is_public("8.8.4.4")
    assert is_public("8.8.8.8")


@pytest.mark.parametrize("host", HOSTS_OF_THIS_MACHINE)
async def test_no_spelling_reaches_this_machine(internet: Internet, host: str) -> None:
    fetcher = Fetcher(10_000, ports=frozenset([internet.port]))
    error = await refusal(fetcher, f"http://{host}:{internet.port}/picture")
    await fetcher.close()
    assert (error.status, internet.requests) == (400, [])


@pytest.mark.parametrize("address", NO_ADDRESSES)
async def test_what_is_no_address_of_a_public_picture_is_refused_at_once(
    fetcher: Fetcher, internet: Internet, address: str
) -> None:
    assert isinstance(await refusal(fetcher, address), InvalidRequest)
    assert (internet.looked_up, internet.requests) == ([], [])


async def test_a_public_picture_is_fetched(fetcher: Fetcher, internet: Internet) -> None:
    assert await fetcher.fetch(f"{internet.url}/a.jpg?b=c#d") == PICTURE
    assert await fetcher.fetch(f"HTTP://Public.Example:{internet.port}/a.jpg") == PICTURE
    assert [request.host for request in internet.requests] == [
        f"127.0.0.1:{internet.port}",
        f"public.example:{internet.port}",
    ]
    assert internet.requests[0].path_qs == "/a.jpg?b=c"


@pytest.mark.parametrize("host", ["127.0.0.2", "inside.example", "mixed.example", "nowhere.example", "127.2", "[::1]"])
async def test_the_inside_is_not_reached_and_nothing_is_said_of_it(
    fetcher: Fetcher, internet: Internet, host: str
) -> None:
    """A name that there is not, one that leads inside, and one of whose addresses one is inside look the same."""
    error = await refusal(fetcher, f"http://{host}:{internet.port}/")
    assert (error.kind, str(error)) == ("PictureNotFetched", str(fetching.PictureNotFetched()))
    assert internet.requests == []


async def test_a_name_is_looked_up_once_so_that_its_server_cannot_change_its_mind(internet: Internet) -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"]]

    def look_up(_: str) -> list[str]:
        return answers.pop(0)

    fetcher = Fetcher(10_000, **{**internet.options(), "look_up": look_up})
    assert await fetcher.fetch(f"http://rebound.example:{internet.port}/") == PICTURE
    assert answers == [["127.0.0.2"]]
    # With the next request it has changed its mind.
    assert (await refusal(fetcher, f"http://rebound.example:{internet.port}/")).kind == "PictureNotFetched"
    assert len(internet.requests) == 1
    await fetcher.close()


async def test_every_connection_is_checked_whatever_the_look_up_said(internet: Internet) -> None:
    judged: list[str] = []

    def is_public_at_first(address: str) -> bool:
        judged.append(address)
        return len(judged) == 1

    fetcher = Fetcher(10_000, **{**internet.options(), "is_public": is_public_at_first})
    assert (await refusal(fetcher, f"http://public.example:{internet.port}/")).kind == "PictureNotFetched"
    assert (judged, internet.requests) == (["127.0.0.1", "127.0.0.1"], [])
    await fetcher.close()


def redirecting(locations: Sequence[str], status: int = 302) -> Answer:
    left = list(locations)

    async def answer(_: web.Request) -> web.StreamResponse:
        if not left:
            return web.Response(body=PICTURE)
        return web.Response(status=status, headers={"Location": left.pop(0)})

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_to_public_addresses(fetcher: Fetcher, internet: Internet, status: int) -> None:
    internet.answer = redirecting(["/b", "c?d", f"http://public.example:{internet.port}/e"], status)
    assert await fetcher.fetch(f"{internet.url}/a") == PICTURE
    assert [request.path_qs for request in internet.requests] == ["/a", "/b", "/c?d", "/e"]


@pytest.mark.parametrize("location", REDIRECTS_INSIDE)
async def test_a_redirect_leads_to_nothing_that_its_address_would_not(
    fetcher: Fetcher, internet: Internet, location: str
) -> None:
    internet.answer = redirecting([location.format(port=internet.port)])
    error = await refusal(fetcher, f"{internet.url}/a")
    assert (error.kind, str(error)) == ("PictureNotFetched", str(fetching.PictureNotFetched()))
    assert [request.path for request in internet.requests] == ["/a"]


async def test_redirects_come_to_an_end(fetcher: Fetcher, internet: Internet) -> None:
    internet.answer = redirecting(["/a"] * 10)
    assert (await refusal(fetcher, f"{internet.url}/a")).kind == "PictureNotFetched"
    assert len(internet.requests) == fetching.MAX_REDIRECTS + 1


async def test_nothing_goes_along_and_nothing_is_kept(
    internet: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.2:9")
    (tmp_path / "netrc").write_text("machine public.example login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    async def set_cookie(_: web.Request) -> web.StreamResponse:
        return web.Response(body=PICTURE, headers={"Set-Cookie": "a=b; Path=/"})

    internet.answer = set_cookie
    fetcher = Fetcher(10_000, **internet.options())
    for _ in range(2):
        await fetcher.fetch(f"http://public.example:{internet.port}/a")
    await fetcher.close()
    sent = [set(request.headers) for request in internet.requests]
    assert (
        sent == [{"Host", "Accept", "Accept-Encoding", "User-Agent", "Connection"}] * 2
        or sent == [{"Host", "Accept", "Accept-Encoding", "User-Agent"}] * 2
    )


@pytest.mark.parametrize(
    ("body", "headers", "kind"),
    [
        (b"<html>a page of the inside</html>" * 10, {"Content-Type": "image/jpeg"}, "UnsupportedImage"),
        (b"", {}, "UnsupportedImage"),
        (b"\xff\xd8", {}, "UnsupportedImage"),
        (gzip.compress(PICTURE), {"Content-Encoding": "gzip"}, "UnsupportedImage"),
        (PICTURE + bytes(10_000), {}, "ImageTooLarge"),
    ],
    ids=["page", "empty", "two bytes", "compressed", "too large"],
)
async def test_only_a_picture_within_the_limit_is_taken(
    fetcher: Fetcher, internet: Internet, body: bytes, headers: dict[str, str], kind: str
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers=headers)

    internet.answer = answer
    assert (await refusal(fetcher, f"{internet.url}/")).kind == kind


@pytest.mark.parametrize("status", [204, 206, 304, 401, 403, 404, 500])
async def test_other_answers_are_no_picture(fetcher: Fetcher, internet: Internet, status: int) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=None if status in (204, 304) else PICTURE)

    internet.answer = answer
    assert (await refusal(fetcher, f"{internet.url}/")).kind == "PictureNotFetched"


async def test_a_picture_without_an_end_is_given_up_at_the_limit(fetcher: Fetcher, internet: Internet) -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 10**8:
            sent += len(PICTURE)
            await response.write(PICTURE)
        return response

    internet.answer = answer
    assert (await refusal(fetcher, f"{internet.url}/")).kind == "ImageTooLarge"
    assert sent < 10**8


@pytest.mark.parametrize("where", ["name", "head", "body"])
async def test_what_takes_too_long_is_given_up(internet: Internet, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(fetching, "DEADLINE_S", 0.3)
    release = asyncio.Event()

    def slow(host: str) -> list[str]:
        import time

        time.sleep(1)
        return internet.look_up(host)

    async def answer(request: web.Request) -> web.StreamResponse:
        if where == "head":
            await release.wait()
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(PICTURE)
        await release.wait()
        return response

    internet.answer = answer
    fetcher = Fetcher(10_000, **{**internet.options(), **({"look_up": slow} if where == "name" else {})})
    assert (await refusal(fetcher, f"http://public.example:{internet.port}/")).kind == "PictureNotFetched"
    release.set()
    await fetcher.close()


async def test_no_more_are_fetched_at_once_than_is_good_for_others(fetcher: Fetcher, internet: Internet) -> None:
    release = asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response(body=PICTURE)

    internet.answer = answer
    running = [asyncio.create_task(fetcher.fetch(f"{internet.url}/")) for _ in range(fetching.MAX_FETCHES)]
    while len(internet.requests) < fetching.MAX_FETCHES:
        await asyncio.sleep(0.01)
    assert (await refusal(fetcher, f"{internet.url}/")).status == 503
    release.set()
    assert await asyncio.gather(*running) == [PICTURE] * fetching.MAX_FETCHES
    assert await fetcher.fetch(f"{internet.url}/") == PICTURE


@pytest.mark.needs("openssl")
async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    certificate = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=public.example", "-days", "2"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]
    subprocess.run(["openssl", *certificate, *files], check=True, capture_output=True)  # noqa: S607
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    fetcher = Fetcher(10_000, look_up=NAMES.__getitem__, is_public=Internet.is_public, ports=frozenset([port]))
    assert (await refusal(fetcher, f"https://public.example:{port}/")).kind == "PictureNotFetched"
    assert asked == []
    await fetcher.close()
    server.close()
    await server.wait_closed()


@pytest.fixture
async def fetching_service(start_service: StartService, internet: Internet, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr("marserve.web.app.Fetcher", partial(Fetcher, **internet.options()))
    return await start_service(fetch_pictures=True, max_image_bytes=10_000)


async def test_a_callers_trace_does_not_go_to_strangers(fetching_service: Service, internet: Internet) -> None:
    headers = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": "vendor=secret"}
    assert (await fetching_service.post(f"/classify?url={internet.url}/a", headers=headers)).status == 200
    (request,) = internet.requests
    assert not {name.lower() for name in request.headers} & {"traceparent", "tracestate", "baggage"}


def ways(url: str) -> dict[str, dict[str, Any]]:
    return {
        "query": {"params": {"url": url, "top_k": "2"}},
        "form": {"data": {"url": url, "top_k": "2"}},
        "json": {"json": {"url": url, "top_k": 2}},
    }


@pytest.mark.parametrize("way", ["query", "form", "json", "multipart"])
@pytest.mark.parametrize("path", ["/predict", "/classify", "/explain"])
async def test_the_address_comes_in_any_form(
    fetching_service: Service, internet: Internet, torchserve: FakeTorchServe, path: str, way: str
) -> None:
    url = f"{internet.url}/cat.jpg?x=1&y=2"
    if way == "multipart":
        boundary = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
        body = boundary.format("url", url) + boundary.format("top_k", "2") + "--b--\r\n"
        options: dict[str, Any] = {
            "data": body.encode(),
            "headers": {"Content-Type": "multipart/form-data; boundary=b"},
        }
    else:
        options = ways(url)[way]
    reply = await fetching_service.ask("POST", path, **options)
    assert reply.status == 200, reply.body
    assert len(reply.json if path == "/predict" else reply.json["predictions"]) == 2
    assert torchserve.pictures == [PICTURE]
    assert internet.requests[0].path_qs == "/cat.jpg?x=1&y=2"


async def test_the_pages_picture_is_no_page(fetching_service: Service, internet: Internet) -> None:
    assert (await fetching_service.get("/models")).json["fetches_urls"] is True
    reply = await fetching_service.post("/fetch", json={"url": f"{internet.url}/cat.jpg"})
    assert (reply.status, reply.body, reply.headers["Content-Type"]) == (200, PICTURE, "application/octet-stream")
    check_shape(await fetching_service.post("/fetch", PICTURE), 400, "InvalidRequest")
    check_shape(await fetching_service.post("/fetch", json={"url": "http://127.0.0.2/"}), 400, "PictureNotFetched")
    check_shape(await fetching_service.get(f"/fetch?url={internet.url}"), 405, "MethodNotAllowed")


async def test_pages_of_others_cannot_have_a_browser_name_an_address(
    fetching_service: Service, internet: Internet
) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}
    for path in ("/fetch", "/predict"):
        check_shape(await fetching_service.post(f"{path}?url={internet.url}", headers=headers), 403, "ForeignPage")
    assert internet.requests == []


async def test_a_report_may_name_an_address(
    start_service: StartService, internet: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("marserve.web.app.Fetcher", partial(Fetcher, **internet.options()))
    service = await start_service(fetch_pictures=True, feedback_dir=tmp_path)
    for options in ({"params": {"url": internet.url, "other": "x"}}, {"json": {"url": internet.url, "other": "x"}}):
        assert (await service.ask("POST", "/feedback", **options)).status == 201
    assert (await service.ask("POST", "/feedback?url=x&topk=3")).status == 400


async def test_a_form_that_has_a_picture_may_have_an_address_too(
    fetching_service: Service, internet: Internet, torchserve: FakeTorchServe
) -> None:
    body = form(b"\xff\xd8\xff sent")
    body.add_field("url", internet.url)
    assert (await fetching_service.post("/predict", body)).status == 200
    await fetching_service.post("/predict", json={"image": base64.b64encode(PICTURE).decode(), "url": internet.url})
    check_shape(await fetching_service.post(f"/predict?url={internet.url}", PICTURE), 400, "InvalidRequest")
    check_shape(await fetching_service.post("/predict", json={"url": 7}), 400, "InvalidParameter")
    assert (torchserve.pictures, internet.requests) == ([b"\xff\xd8\xff sent"], [])


@pytest.mark.parametrize("way", ["query", "form", "json"])
@pytest.mark.parametrize("path", ["/predict", "/classify", "/explain", "/fetch"])
async def test_nothing_is_fetched_unless_it_is_allowed(
    service: Service, internet: Internet, path: str, way: str
) -> None:
    options = ways(internet.url)[way]
    if path == "/fetch" and way == "query":
        del options["params"]["top_k"]
    reply = await service.ask("POST", path, **options)
    check_shape(reply, 400, "InvalidRequest")
    assert "fetches nothing" in json.dumps(reply.json)
    assert internet.requests == []
    assert (await service.get("/models")).json["fetches_urls"] is False
