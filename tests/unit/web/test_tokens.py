"""TorchServe's tokens: found, renewed, replaced."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from marserve.system.files import locked
from marserve.torchserve import key_file
from marserve.web.upstream import connection
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import StartService, until

pytestmark = pytest.mark.anyio


async def test_token_comes_from_the_key_file(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    torchserve.require_tokens(tmp_path / "key_file.json")
    service = await start_service()
    assert (await service.post("/predict", b"picture")).status == 200
    assert torchserve.headers[-1]["Authorization"] == "Bearer inference-1"
    assert torchserve.renewals == 0


async def test_restarted_torchserve_has_new_tokens_and_fails_nobody(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    torchserve.require_tokens(tmp_path / "key_file.json")
    service = await start_service()
    torchserve.require_tokens(tmp_path / "key_file.json")
    assert (await service.post("/predict", b"picture")).status == 200
    assert torchserve.headers[-1]["Authorization"] == "Bearer inference-2"


async def test_expired_token_is_renewed_and_the_request_repeated(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    torchserve.require_tokens(tmp_path / "key_file.json")
    service = await start_service()
    torchserve.forget_token("inference")
    assert (await service.post("/predict", b"picture")).status == 200
    assert torchserve.renewals == 1


async def test_token_is_renewed_before_it_expires(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    torchserve.require_tokens(tmp_path / "key_file.json", valid_for=timedelta(minutes=5))
    await start_service()

    async def are_both_renewed() -> bool:
        return torchserve.renewals == 2

    await until(are_both_renewed)


async def test_half_written_key_file_is_read_again(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    key_file = tmp_path / "key_file.json"
    torchserve.require_tokens(key_file)
    service = await start_service()
    torchserve.require_tokens(key_file)
    whole = key_file.read_text()
    key_file.write_text(whole[:50])
    refused = await service.post("/predict", b"picture")
    assert (refused.status, refused.json["type"]) == (503, "ModelUnavailable")
    key_file.write_text(whole)
    assert (await service.post("/predict", b"picture")).status == 200


async def test_key_file_that_was_overwritten_is_had_again(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    key_file = tmp_path / "key_file.json"
    torchserve.require_tokens(key_file)
    service = await start_service()
    key_file.write_bytes(b"\xffgarbage")
    torchserve.forget_token("inference")
    assert (await service.post("/predict", b"picture")).status == 200
    assert "inference-renewed-1" in key_file.read_text()


async def test_api_key_of_torchserve_is_sent_for_renewals_only(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    torchserve.require_tokens(tmp_path / "key_file.json", valid_for=timedelta(minutes=5))
    service = await start_service()
    await service.post("/predict", b"picture")
    assert all("API" not in headers["Authorization"] for headers in torchserve.headers)


async def test_a_renewal_that_fails_does_not_end_the_renewing(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TOKEN_CHECK_S", 0.1)
    torchserve.require_tokens(tmp_path / "key_file.json", valid_for=timedelta(minutes=5))
    port = torchserve.port
    await torchserve.stop()
    await start_service()
    await asyncio.sleep(0.5)
    await torchserve.start(port)

    async def are_both_renewed() -> bool:
        return torchserve.renewals == 2

    await until(are_both_renewed)


async def test_waiting_for_another_process_that_renews_holds_up_nothing_else(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    torchserve.require_tokens(tmp_path / "key_file.json")
    service = await start_service()
    torchserve.forget_token("inference")
    with locked(tmp_path / "token.lock", timeout_s=0):
        waiting = asyncio.create_task(service.post("/predict", b"picture"))
        for _ in range(5):
            assert (await service.get("/healthz")).status == 200
            await asyncio.sleep(0.1)
        assert not waiting.done()
        assert torchserve.renewals == 0
    assert (await waiting).status == 200
    assert torchserve.renewals == 1


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_clock_that_is_set_fails_nobody(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Neither what tokens are worth nor how long answers are kept and callers wait is a matter of it."""
    torchserve.require_tokens(tmp_path / "key_file.json")
    service = await start_service(rate_limit_per_minute=1000)
    assert (await service.post("/predict", b"picture")).status == 200

    class Set(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=hours)

    monkeypatch.setattr(key_file, "datetime", Set)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + hours * 3600)
    assert (await service.post("/predict", b"picture")).headers["X-Cache"] == "hit"
    for number in range(3):
        torchserve.forget_token("inference")
        assert (await service.post("/predict", b"%d" % number)).status == 200
    assert (await service.get("/readyz")).status == 200
    assert torchserve.renewals <= 8
