"""When TorchServe counts as ready, and why a start of it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.stack import services
from marserve.stack import torchserve as torchserve_module
from marserve.stack.configuration import load_settings
from marserve.stack.deployments import DeployedModel, DeployedVersion, Deployments, switched
from marserve.stack.model_store import RECORD, DeploymentStore
from marserve.stack.options import Concurrency, Options
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, remove_tree
from marserve.stack.torchserve import TorchServe
from marserve.system.files import replace_text
from tests.support import CAT
from tests.unit.fake_server import Answer, FakeServer, classification, error
from tests.unit.torchserve.key_files import key_file_text
from tests.unit.torchserve.test_log_lines import torchserve_line

AT = datetime(2026, 11, 24, 15, 25, tzinfo=timezone.utc)
REFUSED = "2026-11-24T15:25:00,431 [ERROR] main org.pytorch.serve.ModelServer - Failed to load model: a.mar\n"


def described(status: str, version: str = "1.0") -> Answer:
    worker = {"id": "9000", "status": status, "pid": 7}
    return Answer(content=[{"modelName": "a", "modelVersion": version, "modelUrl": "a.mar", "workers": [worker]}])


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def torchserve(tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> TorchServe:
    """It has been started: version 1.0 of model a answers, and 2.0 is kept for a rollback."""
    port = int(server.url.rpartition(":")[2])
    run_directory = RunDirectory(5000, tmp_path)
    temp = run_directory.prepare()
    run_directory.key_file.write_text(key_file_text("secret"))
    ports = Ports(inference_port=port, management_port=port)
    for version in ("1.0", "2.0"):
        (tmp_path / version).write_text(version)
    store = DeploymentStore(run_directory)
    first, second = (store.add(tmp_path / version, "a", version) for version in ("1.0", "2.0"))
    store.write(Deployments({}, {"a": DeployedModel(first, before=second)}))
    monkeypatch.setattr(services, "start_service", lambda *_, **__: None)
    torchserve = TorchServe(Path("java"), ports, run_directory, temp, Options(), Concurrency(1, 1), {"vmargs": ""})
    torchserve.start()
    return torchserve


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


def test_it_is_not_ready_while_another_version_than_the_deployed_one_is_the_default(
    torchserve: TorchServe, server: FakeServer
) -> None:
    server.answers = [described("READY", "2.0")]
    assert not torchserve.is_ready()
    server.answers = [described("READY", "1.0"), Answer(content=classification())]
    assert torchserve.is_ready()


def test_what_is_only_kept_for_a_rollback_may_fail(torchserve: TorchServe, server: FakeServer) -> None:
    server.answers = [described("UNLOADING")]
    log = torchserve.log.parent / "ts_log.log"
    log.write_text(torchserve_line("Load model failed: a", at=AT, thread="W-9001-a_2.0") + "\n")
    assert not torchserve.is_ready()
    log.write_text(torchserve_line("Load model failed: a", at=AT, thread="W-9000-a_1.0") + "\n")
    with pytest.raises(MarserveError, match="A worker could not start"):
        torchserve.is_ready()


def test_each_start_serves_what_is_deployed_by_then(torchserve: TorchServe, tmp_path: Path) -> None:
    def load_models() -> str:
        (line,) = (line for line in text.splitlines() if line.startswith("load_models="))
        return re.sub("-[0-9a-f]{12}", "", line.partition("=")[2])

    config = torchserve.log.parent.parent / "config.properties"
    text = config.read_text()
    assert load_models() == "a=a-1.0.mar,a=a-2.0.mar"
    store = DeploymentStore(RunDirectory(5000, tmp_path))
    store.update(lambda record: record.with_model("a", switched(second_of(record), record.models["a"].current, 1)))
    torchserve.start()
    text = config.read_text()
    assert load_models() == "a=a-2.0.mar,a=a-1.0.mar"


def second_of(record: Deployments) -> DeployedVersion:
    second = record.models["a"].before
    assert second is not None
    return second


def test_what_was_deployed_while_it_started_has_it_start_again(
    torchserve: TorchServe, server: FakeServer, tmp_path: Path
) -> None:
    store = DeploymentStore(RunDirectory(5000, tmp_path))
    store.update(lambda record: record.with_model("a", switched(second_of(record), record.models["a"].current, 1)))
    server.answers = [described("READY", "1.0"), Answer(content=classification())]
    with pytest.raises(MarserveError, match="another version was deployed"):
        torchserve.is_ready()


@pytest.mark.parametrize("lost", ["all", "record"])
def test_a_record_that_is_lost_is_written_again_as_it_was_last_read(
    torchserve: TorchServe, server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    store = DeploymentStore(RunDirectory(5000, tmp_path))
    store.update(lambda record: record.with_model("a", switched(second_of(record), record.models["a"].current, 1)))
    server.answers = [described("UNLOADING")]
    assert torchserve.checks()[1].ask()  # it is asked every now and then what is deployed
    if lost == "all":
        remove_tree(store.path)
    else:
        replace_text(store.path / RECORD, "{")
    torchserve.start()
    assert "Serving what was deployed when it was last read" in capsys.readouterr().err
    record = store.read()
    assert record is not None
    assert [version.version for version in record.models["a"].versions] == ["2.0", "1.0"]


def test_a_record_that_cannot_be_read_for_a_while_is_left_alone(torchserve: TorchServe, tmp_path: Path) -> None:
    store = DeploymentStore(RunDirectory(5000, tmp_path))
    store.path.chmod(0o700)
    (store.path / RECORD).rename(tmp_path / "record")
    (store.path / RECORD).mkdir()
    with pytest.raises(MarserveError, match="What is deployed cannot be read"):
        torchserve.start()
    (store.path / RECORD).rmdir()
    (tmp_path / "record").rename(store.path / RECORD)
    torchserve.start()


@pytest.mark.parametrize(("scaled", "workers"), [(True, {"1.0": 3, "2.0": 1}), (False, {"2.0": 1})])
def test_workers_are_those_that_were_chosen_unless_an_autoscaler_chooses(scaled: bool, workers: dict[str, int]) -> None:
    first, second = (DeployedVersion(version, f"{version}.mar", "", "") for version in ("1.0", "2.0"))
    model = DeployedModel(replace(first, workers=3), before=replace(second, workers=4))
    settings = load_settings(Deployments({}, {"a": model, "b": DeployedModel(first)}), scaled=scaled)
    assert settings["load_models"] == "a=1.0.mar,a=2.0.mar,b=1.0.mar"
    expected = {version: {"minWorkers": n, "maxWorkers": n} for version, n in workers.items()}
    assert json.loads(settings["models"]) == {"a": expected, "b": {}}


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


@pytest.mark.parametrize(
    ("gpus", "codes", "told"), [(2, (True, True), True), (2, (True, False), False), (0, (True, True), False)]
)
def test_torchserve_is_told_of_no_gpu_where_the_workers_choose(
    torchserve: TorchServe,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    gpus: int,
    codes: tuple[bool, ...],
    told: bool,
) -> None:
    """With one, it would ask nvidia-smi for each worker whenever it lists them."""
    monkeypatch.setattr(torchserve, "_gpus", gpus)
    run_directory = torchserve._run_directory
    store = DeploymentStore(run_directory)
    record = store.read()
    assert record is not None
    model = record.models["a"]
    versions = []
    for version, has_code in zip(model.versions, codes, strict=True):
        with zipfile.ZipFile(tmp_path / "new.mar", "w") as archive:
            archive.writestr("description.json", version.version)
            if has_code:
                archive.writestr("resnet18/gpu.py", "")
        versions.append(store.add(tmp_path / "new.mar", "a", version.version))
    store.write(replace(record, models={"a": replace(model, current=versions[0], before=versions[1])}))
    monkeypatch.setattr(torchserve_module, "visible_gpus", lambda: pytest.fail("a start waits for nvidia-smi"))
    torchserve.start()
    assert ("number_of_gpu=0" in run_directory.config.read_text().splitlines()) == told
    assert torchserve.environment()["MARSERVE_GPUS"] == str(gpus)
