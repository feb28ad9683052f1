"""What people see: the page, /docs and their files."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from marserve.web import content
from tests.unit.web.service import Service, StartService

pytestmark = pytest.mark.anyio


async def test_operators_name_stands_on_the_page_in_docs_and_in_the_list_of_models(start_service: StartService) -> None:
    name = 'Flowers & <b>"{root}"'
    escaped = "Flowers &amp; &lt;b&gt;&quot;{root}&quot;"
    service = await start_service(name=name)
    page = (await service.get("/")).body.decode()
    assert f"· {escaped}</title>" in page
    assert f"<span>{escaped}</span>" in page
    assert f'<meta name="application-name" content="{escaped}">' in page
    assert escaped in (await service.get("/docs")).body.decode()
    assert (await service.get("/openapi.json")).json["info"]["title"] == f"{name}: image classification"
    assert (await service.get("/models")).json["name"] == name


#: What browsers send when a person opens an address.
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("method", "path", "status", "says", "home"),
    [
        ("GET", "/nothing", 404, ["There is nothing at this address", "此地址没有内容"], "./"),
        ("GET", "/a/b/c", 404, ["There is nothing at this address"], "../../"),
        ("GET", "/Docs/", 404, ["did you mean /docs?"], "../"),
        ("GET", "/predict", 405, ["Use POST or PUT", "此地址只接受 POST 或 PUT 请求"], "./"),
        ("GET", "/v2/models/resnet18/infer", 405, ["Use POST ", "此地址只接受 POST 请求"], "../../../"),
        ("POST", "/", 405, ["Use GET"], "./"),
        ("GET", '/"><script>alert(1)</script>', 404, ["There is nothing"], "../"),
    ],
)
async def test_browser_gets_a_page_with_a_way_back(
    service: Service, method: str, path: str, status: int, says: list[str], home: str
) -> None:
    reply = await service.ask(method, path, headers={"Accept": BROWSER})
    page = reply.body.decode()
    assert (reply.status, reply.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert all(text in page for text in [*says, f'<a href="{home}">', f'<a href="{home}docs?lang=zh">'])
    assert "alert" not in page


@pytest.mark.parametrize(
    "accept",
    [None, "*/*", "application/json", "application/json, text/html", "text/html;q=0.5,application/json", "text/plain"],
)
async def test_program_gets_json(service: Service, accept: str | None) -> None:
    for path in ("/nothing", "/predict"):
        reply = await service.get(path, headers={"Accept": accept} if accept else {})
        assert reply.json["error"] == reply.json["message"]


async def test_page_finds_its_files_where_they_may_stay_for_ever(service: Service) -> None:
    page = (await service.get("/")).body.decode()
    addresses = set(re.findall(r'(?:src|href)="\./(static[^"]*)"', page))
    assert len({address.partition("/")[0] for address in addresses}) == 1
    for address in addresses:
        reply = await service.get(f"/{address}")
        assert (reply.status, reply.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        # Their imports stay below the same address, so that they are of one version.
        assert not re.search(rb"""(?:from|import) ["'](?!\./\w)""", reply.body)


async def test_changed_file_moves_all_of_them(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "static"
    shutil.copytree(content.STATIC, changed)
    monkeypatch.setattr(content, "STATIC", changed)
    before = content.static_version()
    assert before in (await service.get("/")).body.decode()
    os.utime(changed / "main.js")
    assert content.static_version() == before  # another machine's copy has other dates
    (changed / "main.js").write_text("// new")
    after = content.static_version()
    page = (await service.get("/")).body.decode()
    assert after in page
    assert before not in page
    old = await service.get(f"/static-{before}/main.js")
    assert (old.status, old.headers["Cache-Control"]) == (404, "no-cache")
    assert (await service.get(f"/static-{after}/main.js")).status == 200


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2fapp.py", "....//app.py", "%00", "nothing.js", "x" * 300, "\\"])
async def test_name_leads_to_no_other_file(service: Service, name: str) -> None:
    for directory in ("/static", f"/static-{content.static_version()}", "/examples", "/docs/assets"):
        answer = await service.talk(f"GET {directory}/{name} HTTP/1.0\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404 "), answer


async def read_packed(service: Service, path: str, accept: str) -> tuple[Mapping[str, str], bytes]:
    """Headers and body as they came."""
    headers = {"Accept-Encoding": accept}
    async with service.session.get(service.url + path, headers=headers, auto_decompress=False) as response:
        return response.headers, await response.read()


@pytest.mark.parametrize(
    "path",
    ["/", "/docs", "/openapi.json", "/models", "/metrics", "/labels/zh.json", "/static/texts.js", "/static/icon.svg"],
)
async def test_texts_are_compressed_for_who_takes_it(service: Service, path: str) -> None:
    plain = await service.get(path, headers={"Accept-Encoding": "identity"})
    headers, body = await read_packed(service, path, "br, gzip;q=0.5")
    assert "Content-Encoding" not in plain.headers
    if len(plain.body) < content.MIN_PACKED_BYTES:
        assert "Content-Encoding" not in headers
    else:
        assert headers["Content-Encoding"] == "gzip"
        assert len(body) < len(plain.body) / 1.5
        assert path == "/metrics" or gzip.decompress(body) == plain.body
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert "Accept-Encoding" in headers["Vary"]


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip, deflate, br, zstd", True),
        ("GZIP", True),
        ("deflate;q=1, gzip ; q=0.001", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, br", False),
        ("br", False),
        ("notgzip", False),
        ("", False),
    ],
)
async def test_compression_is_for_who_does_not_refuse_it(service: Service, header: str, takes: bool) -> None:
    headers, _ = await read_packed(service, "/static/texts.js", header)
    assert (headers.get("Content-Encoding") == "gzip") == takes


async def test_pictures_and_answers_are_not_compressed(service: Service) -> None:
    everything = {"Accept-Encoding": "gzip"}
    assert "Content-Encoding" not in (await service.get("/example.jpg", headers=everything)).headers
    for path in ("/predict?top_k=1000", "/classify?top_k=1000", "/explain"):
        reply = await service.post(path, b"picture", headers=everything)
        assert (reply.status, reply.headers.get("Content-Encoding")) == (200, None)


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/static/main.js", "/example.jpg", "/labels/zh.json", "/examples/tiger.jpg"]
)
async def test_what_a_browser_has_is_not_sent_again(service: Service, path: str) -> None:
    first = await service.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    tag = first.headers["ETag"]
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = await service.get(path, headers={"If-None-Match": known})
        assert (again.status, again.body) == (304, b"")
        assert {again.headers[name] for name in ("ETag", "Cache-Control", "Vary")} == {
            tag,
            "no-cache",
            first.headers["Vary"],
        }
    assert (await service.get(path, headers={"If-None-Match": '"other"'})).status == 200
