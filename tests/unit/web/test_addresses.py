"""Methods and spellings of addresses, as clients, monitors and proxies send them."""

from __future__ import annotations

import json
import logging

import pytest

from marserve.web.logs import FIELDS
from tests.cases.addresses import ALLOWED, PICTURES, READ, SPELLINGS
from tests.unit.web.service import Reply, Service, StartService, form

pytestmark = pytest.mark.anyio

#: Differ from one request to the next.
OWN_HEADERS = {"date", "x-request-id"}
#: Their content differs as well: one counts, the other names its files as seen from its address.
MOVING = {"/metrics", "/docs"}


def lasting(reply: Reply, path: str) -> dict[str, str]:
    left_out = OWN_HEADERS | ({"content-length", "etag"} if path in MOVING else set())
    return {name.lower(): value for name, value in reply.headers.items() if name.lower() not in left_out}


async def test_head_answers_as_get_without_a_body(service: Service) -> None:
    for path in READ:
        get, head = await service.get(path), await service.ask("HEAD", path)
        assert (head.status, head.body, get.status) == (200, b"", 200), path
        assert lasting(head, path) == lasting(get, path)
        assert "content-length" in head.headers


async def test_slash_in_the_end_changes_nothing(service: Service) -> None:
    for path in READ:
        plain = await service.get(path)
        for spelling in (f"{path}/", f"{path}//", f"/{path}"):
            reply = await service.get(spelling, allow_redirects=False)
            assert reply.status == 200, spelling
            assert lasting(reply, path) == lasting(plain, path)
            assert path in MOVING or reply.body == plain.body


async def test_picture_is_taken_by_post_and_put(service: Service) -> None:
    for path in PICTURES:
        answers = [
            (await service.ask(method, path + slash, data=body)).json
            for method in ("POST", "PUT")
            for slash in ("", "/")
            for body in (b"picture", form(b"picture"))
        ]
        labels = [json.dumps(answer if path == "/predict" else answer["predictions"]) for answer in answers]
        assert len(set(labels)) == 1, path


async def test_spelling_is_answered_or_refused_with_advice(service: Service) -> None:
    for name, case in SPELLINGS.items():
        head = f"{case.method} {case.target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 7\r\n\r\n"
        answer = await service.talk(head.encode() + b"picture")
        head, _, body = answer.decode().partition("\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {case.status} "), name
        assert case.says in (json.loads(body)["message"] if case.says else ""), name


async def test_allow_names_every_method_of_its_address(service: Service) -> None:
    for path, allowed in ALLOWED.items():
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"):
            reply = await service.ask(method, f"{path}/", data=b"" if method in {"POST", "PUT"} else None)
            assert (reply.status == 405) == (method not in allowed.split(", ")), (method, path)
            if reply.status == 405 or method == "OPTIONS":
                assert reply.headers["Allow"] == allowed
        assert (reply.status, reply.body) == (204, b""), path


async def test_options_of_the_whole_service_is_answered(service: Service) -> None:
    answer = await service.talk(b"OPTIONS * HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert b"allow: GET, HEAD, OPTIONS, POST, PUT\r\n" in answer


async def test_nothing_is_ever_redirected(service: Service) -> None:
    for path in ("/static", "/docs/assets", "/nothing", "/labels", "//web.example"):
        for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"):
            for spelling in (path, f"{path}/"):
                reply = await service.ask(method, spelling, allow_redirects=False)
                assert (reply.status, "Location" in reply.headers) == (404, False), (method, spelling)


async def test_spellings_of_one_address_are_counted_and_logged_as_one(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spellings = ["/predict", "/predict/", "//predict", "/predict//", "///predict///"]
    for spelling in spellings:
        assert (await service.ask("PUT", spelling, data=b"picture")).status == 200
    counted = 'web_requests_total{method="PUT",route="/predict",status="200"}'
    assert await service.metric(counted) == len(spellings)
    logged = [getattr(record, FIELDS) for record in caplog.records if record.name == "web.access"]
    assert [fields["path"] for fields in logged if fields["method"] == "PUT"] == ["/predict"] * len(spellings)


async def test_methods_that_nobody_has_do_not_make_metrics_of_their_own(service: Service) -> None:
    for method in ("PROPFIND", "BREW", "M-SEARCH"):
        await service.talk(f"{method} /predict HTTP/1.0\r\n\r\n".encode())
    assert await service.metric('web_requests_total{method="any",route="/predict",status="405"}') >= 2
    text = (await service.get("/metrics")).body
    assert b"PROPFIND" not in text
    assert b"M-SEARCH" not in text


async def test_pages_of_a_configured_origin_may_put(start_service: StartService) -> None:
    service = await start_service(cors_origins=("https://web.example",))
    for method in ("GET", "HEAD", "POST", "PUT"):
        preflight = {"Origin": "https://web.example", "Access-Control-Request-Method": method}
        reply = await service.ask("OPTIONS", "/predict/", headers=preflight)
        assert reply.status == 200
        assert method in reply.headers["Access-Control-Allow-Methods"].split(", ")
