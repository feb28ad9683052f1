"""The web service with TLS: on a real socket, with certificates that change."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from pathlib import Path

import pytest
import uvloop
from fastapi import FastAPI

from marserve.client.errors import ClientError
from marserve.client.inference import InferenceClient
from marserve.system import loopback
from marserve.system.loopback import free_ports
from marserve.web import certificate as module
from marserve.web.certificate import Certificate, CertificateError, load
from marserve.web.connections import MAX_CONNECTIONS, Places
from marserve.web.server import GracefulServer, create_config
from marserve.web.settings import WebSettings, WebSettingsError
from tests.certificates import Pair, make_pair, replace_pair
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import SOON_S, Service, StartService, until

pytestmark = [pytest.mark.anyio, pytest.mark.needs("openssl")]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path)


@pytest.fixture
async def secure(start_service: StartService, pair: Pair, tmp_path: Path) -> Service:
    return await start_service(
        tls_certificate=pair.certificate, tls_key=pair.key, tls_published=tmp_path / "published.pem"
    )


def port_of(service: Service) -> int:
    return int(service.url.rpartition(":")[2])


def shown(service: Service, version: ssl.TLSVersion | None = None) -> str:
    """The certificate that a new connection is shown, in PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port_of(service)), timeout=5) as plain,
        context.wrap_socket(plain) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
        assert der is not None
        return ssl.DER_cert_to_PEM_cert(der)


def pem_of(pair: Pair) -> str:
    return pair.certificate.read_text()


async def test_http_is_the_same_over_tls(secure: Service) -> None:
    reply = await secure.post("/classify", b"picture")
    assert (reply.status, len(reply.json["predictions"])) == (200, 5)
    assert (await secure.get("/nothing")).status == 404
    assert (await secure.get("/healthz")).status == 200
    assert f"{secure.url}/classify" in (await secure.get("/openapi.json")).body.decode()


async def test_old_versions_and_plain_http_are_refused(secure: Service) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert await asyncio.to_thread(shown, secure, version)
    with pytest.warns(DeprecationWarning, match="TLS"), pytest.raises((ssl.SSLError, OSError)):
        await asyncio.to_thread(shown, secure, ssl.TLSVersion.TLSv1_1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(secure))
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-API-Key: secret\r\n\r\n")
    assert b"HTTP/1.1" not in await reader.read()
    writer.close()


async def test_a_new_pair_is_shown_to_new_connections_and_old_ones_live_on(
    secure: Service, pair: Pair, tmp_path: Path
) -> None:
    context = loopback.trusting(pem_of(pair))
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(secure), ssl=context)
    new = make_pair(tmp_path, "new", days=90)
    expires = await secure.metric("web_certificate_expires_timestamp_seconds")
    assert abs(expires - time.time() - 30 * 86_400) < 3600
    replace_pair(pair, new)

    async def is_new() -> bool:
        return await asyncio.to_thread(shown, secure) == pem_of(new)

    await until(is_new)
    assert (tmp_path / "published.pem").read_text() == pem_of(new)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert await secure.metric("web_certificate_expires_timestamp_seconds") > expires + 50 * 86_400


@pytest.mark.parametrize("broken", ["half", "mismatch", "gone", "garbage"])
async def test_a_pair_that_cannot_be_used_leaves_the_one_before(
    secure: Service, pair: Pair, tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = pem_of(pair)
    if broken == "half":
        pair.certificate.write_text(old[: len(old) // 2])
    elif broken == "mismatch":
        pair.certificate.write_text(pem_of(make_pair(tmp_path, "other")))
    elif broken == "gone":
        pair.key.unlink()
    else:
        pair.key.write_bytes(b"\0" * 100)

    async def is_told() -> bool:
        return any("the one before stays" in record.getMessage() for record in caplog.records)

    with caplog.at_level(logging.WARNING):
        await until(is_told)
        await asyncio.sleep(2.2 * module.LOOK_S)
    assert sum("the one before stays" in record.getMessage() for record in caplog.records) == 1, "told once"
    assert await asyncio.to_thread(shown, secure) == old
    assert (tmp_path / "published.pem").read_text() == old
    replace_pair(pair, new := make_pair(tmp_path, "new"))

    async def is_new() -> bool:
        return await asyncio.to_thread(shown, secure) == pem_of(new)

    await until(is_new)


async def test_who_asks_on_this_machine_trusts_that_certificate_alone(
    secure: Service, tmp_path: Path, torchserve: FakeTorchServe
) -> None:
    def ask(certificate: Path | None) -> int | None:
        reply = loopback.request("GET", port_of(secure), "/healthz", certificate=certificate, timeout_s=5)
        return None if reply is None else reply.status

    other = make_pair(tmp_path, "other")
    published = tmp_path / "published.pem"
    assert await asyncio.to_thread(ask, published) == 200
    assert await asyncio.to_thread(ask, other.certificate) is None
    assert await asyncio.to_thread(ask, tmp_path / "not written yet") is None
    assert await asyncio.to_thread(ask, None) is None


async def test_an_expired_certificate_of_any_name_is_still_known_on_this_machine(
    start_service: StartService, tmp_path: Path
) -> None:
    expired = make_pair(tmp_path, host="10.1.2.3", days=-1)
    service = await start_service(tls_certificate=expired.certificate, tls_key=expired.key)
    reply = await asyncio.to_thread(
        loopback.request, "GET", port_of(service), "/readyz", certificate=expired.certificate
    )
    assert reply is not None
    assert reply.status == 200
    assert await service.metric("web_certificate_expires_timestamp_seconds") < time.time()


async def test_the_client_takes_an_authority_or_the_services_own_certificate(
    secure: Service, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def classify(**trusted: Path) -> str:
        with InferenceClient.for_web(secure.url, **trusted) as client:  # type: ignore[arg-type]
            return client.classify(b"picture").predictions[0].label

    assert await asyncio.to_thread(classify, ca=pair.certificate)
    assert await asyncio.to_thread(classify, certificate=pair.certificate)
    with pytest.raises(ClientError, match="--ca"):
        await asyncio.to_thread(classify)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pair.certificate))
    assert await asyncio.to_thread(classify)


async def test_a_handshake_that_is_not_finished_holds_nobody_up(secure: Service) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", port_of(secure)) for _ in range(50)]
    assert (await secure.post("/classify", b"picture")).status == 200
    for _, writer in silent:
        writer.close()


def test_what_is_no_pair_is_refused_with_its_reason(tmp_path: Path, pair: Pair) -> None:
    other = make_pair(tmp_path, "other")
    with pytest.raises(CertificateError, match="the key is another certificate's"):
        load(pair.certificate, other.key)
    with pytest.raises(CertificateError, match="cannot be read"):
        load(tmp_path / "nothing", pair.key)
    (tmp_path / "text").write_text("text")
    with pytest.raises(CertificateError, match="no certificate"):
        Certificate(tmp_path / "text", pair.key)
    given = {"MARSERVE_TLS_CERTIFICATE": str(pair.certificate)}
    with pytest.raises(WebSettingsError, match="MARSERVE_TLS_KEY"):
        WebSettings.from_environment(given)
    with pytest.raises(WebSettingsError, match="another certificate's"):
        WebSettings.from_environment({**given, "MARSERVE_TLS_KEY": str(other.key)})
    settings = WebSettings.from_environment({**given, "MARSERVE_TLS_KEY": str(pair.key)})
    assert settings.tls_certificate == pair.certificate


def test_connections_that_wait_when_the_service_stops_are_answered_and_silent_ones_not_waited_for(pair: Pair) -> None:
    app = FastAPI()
    app.state.certificate = Certificate(pair.certificate, pair.key)

    def ask(waiting: socket.socket) -> bytes:
        with loopback.trusting(pem_of(pair)).wrap_socket(waiting) as secured:
            secured.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
            return secured.recv(12)

    async def stop_while_they_wait() -> bytes:
        places = Places(MAX_CONNECTIONS)
        config = create_config(app, WebSettings(web_port=free_ports(1)[0]), places)
        config.load()
        server = GracefulServer(config, places, drain_s=0, on_stop=lambda: None)
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        # From here to the stop, the loop has no turn in which to accept them.
        waiting = [socket.create_connection(("127.0.0.1", config.port), timeout=SOON_S) for _ in range(4)]
        waiting[0].close()
        answer = asyncio.get_running_loop().run_in_executor(None, ask, waiting[-1])
        await asyncio.wait_for(server.shutdown(), SOON_S)
        for connection in waiting[:-1]:
            connection.close()
        return await answer

    loop = uvloop.new_event_loop()
    try:
        assert loop.run_until_complete(stop_while_they_wait()) == b"HTTP/1.1 200"
    finally:
        loop.close()
