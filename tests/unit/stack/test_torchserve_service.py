"""When TorchServe counts as ready, and why a start of it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.stack.options import Concurrency
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.torchserve import TorchServe
from tests.support import CAT
from tests.unit.fake_server import Answer, FakeServer, classification, error
from tests.unit.torchserve.key_files import key_file_text

REFUSED = "2026-11-24T15:25:00,431 [ERROR] main org.pytorch.serve.ModelServer - Failed to load model: a.mar\n"


def described(status: str) -> Answer:
    worker = {"id": "9000", "status": status, "pid": 7}
    return Answer(content=[{"modelName": "a", "modelVersion": "1.0", "modelUrl": "a.mar", "workers": [worker]}])


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def torchserve(tmp_path: Path, server: FakeServer) -> TorchServe:
    port = int(server.url.rpartition(":")[2])
    run_directory = RunDirectory(5000, tmp_path)
    temp = run_directory.prepare()
    run_directory.key_file.write_text(key_file_text("secret"))
    ports = Ports(inference_port=port, management_port=port)
    return TorchServe(Path("java"), ports, run_directory, temp, ["a"], Concurrency(1, 1), {})


def test_a_model_is_ready_when_it_has_classified_a_picture(
    torchserve: TorchServe, server: FakeServer, process: subprocess.Popen[bytes]
) -> None:
    server.answers = [described("UNLOADING"), Answer(404), described("READY"), Answer(content=classification())]
    torchserve.wait_until_ready(process)
    last = server.requests[-1]
    assert (last.method, last.path, last.body) == ("POST", "/predictions/a", CAT.read_bytes())
    assert last.headers["Authorization"] == "Bearer secret"


def test_neither_java_nor_its_workers_inherit_a_secret(torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MARSERVE_API_KEYS", "MARSERVE_CLASSIFY_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("MARSERVE_CACHE_URL", "redis://:canary@cache:6379/0")
    monkeypatch.setenv("https_proxy", "http://me:canary@proxy:3128")
    environment = torchserve.environment()
    assert not [name for name, value in environment.items() if "canary" in value]
    assert environment["PATH"]


def test_before_java_has_written_its_tokens_nothing_is_sent(torchserve: TorchServe, server: FakeServer) -> None:
    torchserve.log.parent.parent.joinpath("key_file.json").unlink()
    assert not torchserve.is_ready()
    assert server.requests == []


def test_a_first_prediction_that_fails_ends_the_start(torchserve: TorchServe, server: FakeServer) -> None:
    server.answers = [described("READY"), error(503, "Broken")]
    with pytest.raises(MarserveError, match=r"a answers its first prediction with status 503: .*Broken"):
        torchserve.is_ready()


def test_an_archive_that_is_refused_ends_the_start_at_once(torchserve: TorchServe) -> None:
    (torchserve.log.parent / "ts_log.log").write_text(REFUSED)
    with pytest.raises(MarserveError, match=r"A worker could not start:\n  Failed to load model: a.mar\nLogs: "):
        torchserve.is_ready()


def test_java_that_ends_at_once_says_why(torchserve: TorchServe, process: subprocess.Popen[bytes]) -> None:
    torchserve.log.write_text("Error: could not reserve the heap\n")
    process.kill()
    process.wait()
    with pytest.raises(MarserveError, match=r"TorchServe ended at once:\n  Error: could not reserve the heap\nLogs: "):
        torchserve.wait_until_ready(process)


def test_what_takes_too_long_is_named(
    torchserve: TorchServe, server: FakeServer, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [described("UNLOADING")]
    monkeypatch.setattr(torchserve, "deadline_s", 0.2)
    with pytest.raises(MarserveError, match=r"TorchServe was not ready in 0 seconds:\n  No answer from a\."):
        torchserve.wait_until_ready(process)


def test_java_reads_names_of_files_as_utf8_whatever_the_locale(
    torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    assert torchserve.environment()["LC_ALL"] == "C.UTF-8"
