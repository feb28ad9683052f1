"""The two halves of a stack as the containers of a pod: how they end, come back, and what each sees of the other."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import requests

from marserve.stack.model_store import sha256_of
from marserve.system.files import is_held
from tests.e2e.pods import TORCHSERVE, WEB, Pod, environment_of
from tests.e2e.serving import ANSWER_S, START_S, run, stack_on_free_ports, wait_for
from tests.e2e.steady_load import SteadyLoad
from tests.support import CAT, REPOSITORY

pytestmark = pytest.mark.needs("process-namespaces")
#: The demonstration model, whose labels are true.
MODEL = "efficientnet_lite0"
#: Seconds within which an orchestrator is to learn that no worker is left.
NOTICED_S = 5.0


@pytest.fixture(scope="module")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {role: environment_of(role, tmp_path_factory.mktemp(role) / "venv") for role in (TORCHSERVE, WEB)}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one archive, and its digest beside it."""
    build = [str(REPOSITORY / "scripts" / "marserve"), "build", "--arch", MODEL, "--model-name", MODEL, "--json"]
    built = run([*build, "--precision", "f32"], os.environ)
    assert built.returncode == 0, built.stderr
    archive, folder = Path(json.loads(built.stdout)["path"]), tmp_path_factory.mktemp("models")
    (folder / archive.name).write_bytes(archive.read_bytes())
    (folder / f"{archive.name}.sha256").write_text(f"{sha256_of(archive)}  {archive.name}\n")
    return folder


@pytest.fixture(scope="module")
def shared(pythons: dict[str, Path], archives: Path) -> Iterator[Pod]:
    # Not where pytest has its own: the sockets' paths would be too long.
    pod = Pod(Path(tempfile.mkdtemp(prefix="pod-")), pythons, archives)
    yield pod
    pod.remove()


@pytest.fixture
def pod(shared: Pod) -> Pod:
    return shared.as_started()


def load_on(pod: Pod) -> SteadyLoad:
    return SteadyLoad(pod.stack, MODEL)


def test_both_are_told_to_end_at_once_and_no_request_is_lost(pod: Pod) -> None:
    load = load_on(pod)
    with load.running():
        load.wait_for(100)
        statuses = pod.end()
    assert load.failures == []
    assert load.answered > 100
    assert load.refused == load.clients
    assert statuses == {TORCHSERVE: 0, WEB: 0}
    assert not pod.run_directory.state.exists()


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_worker_that_is_killed_is_noticed_in_time_and_back_by_itself(pod: Pod, busy: bool) -> None:
    load = load_on(pod)
    with load.running() if busy else nullcontext():
        pod.worker().send_signal(signal.SIGKILL)
        killed_s = time.monotonic()
        wait_for(lambda: not pod.is_ready(), NOTICED_S)
        print(f"noticed after {time.monotonic() - killed_s:.2f} s")
        assert pod.probe("alive") == 0
        health = pod.get("/healthz")
        assert health is not None
        assert health.status_code == requests.codes.ok
        wait_for(pod.is_ready)
        print(f"ready again after {time.monotonic() - killed_s:.2f} s")
        if busy:
            load.wait_for(16)
    assert load.failures == []


def test_java_that_is_killed_is_back_and_nothing_of_what_was_asked_is_lost(pod: Pod) -> None:
    load = load_on(pod)
    with load.running():
        pod.java().kill()
        wait_for(lambda: pod.probe("ready") != 0)
        assert (pod.probe("started"), pod.probe("alive")) == (0, 0)
        wait_for(lambda: pod.probe("ready") == 0)
        load.wait_for(16)
    assert [failure for failure in load.failures if not failure.startswith("503 ")] == []


def test_a_web_service_that_is_killed_leaves_torchserve_at_work(pod: Pod) -> None:
    java = pod.java()
    pod.kill(WEB)
    pod.start(WEB)
    wait_for(pod.is_ready)
    assert pod.java() == java
    assert requests.post(f"{pod.stack.web}/classify", data=CAT.read_bytes(), timeout=ANSWER_S).status_code == 200


def test_a_container_of_torchserve_that_is_started_again_takes_nobody_elses_process_for_its_own(pod: Pod) -> None:
    """Its process ids are those of the one before, and what that wrote down is still there."""
    web = pod.process(WEB)
    state = pod.run_directory.state.read_text()
    pod.kill(TORCHSERVE)
    wait_for(lambda: not pod.is_ready())
    away = requests.post(f"{pod.stack.web}/classify", data=os.urandom(8) + CAT.read_bytes(), timeout=ANSWER_S)
    assert away.status_code == requests.codes.unavailable
    assert away.headers["Retry-After"]
    assert pod.probe("alive") == 1
    pod.start(TORCHSERVE)
    wait_for(lambda: pod.probe("started") == 0, START_S)
    wait_for(pod.is_ready)
    before, now = (json.loads(text)["serve"] for text in (state, pod.run_directory.state.read_text()))
    assert now["pid"] == before["pid"] == 1
    assert now["boot"] != before["boot"]
    assert pod.process(WEB) == web
    metrics = pod.get("/metrics")
    assert metrics is not None
    assert "supervisor_restarts_total" in metrics.text
    assert not re.search("^supervisor_up ", metrics.text, re.MULTILINE), "it runs, unseen: NobodyWatches must be quiet"


def test_the_web_service_comes_first_and_torchserve_alone_ends_at_once(
    pythons: dict[str, Path], archives: Path
) -> None:
    pod = Pod(Path(tempfile.mkdtemp(prefix="pod-")), pythons, archives)
    try:
        pod.start(WEB)
        wait_for(lambda: pod.get("/healthz"), START_S)
        assert not pod.is_ready()
        pod.start(TORCHSERVE)
        wait_for(pod.is_ready, START_S)
        wait_for(lambda: pod.probe("started") == 0)  # the supervisor asks for itself, a moment later
        pod.kill(WEB)
        wait_for(lambda: not is_held(pod.run_directory.web_lock))
        pod.process(TORCHSERVE).terminate()
        assert pod.running.pop(TORCHSERVE).wait(START_S) == 0
        lines = [json.loads(line) for line in pod.log(TORCHSERVE).read_text().splitlines()]
        assert {"time", "level", "logger", "message"} == set.intersection(*(set(line) for line in lines))
        texts = [line["message"] for line in lines]
        assert any(re.match(r"Loaded efficientnet_lite0 1\.0: ", text) for text in texts), "what the worker prints"
        assert not [text for text in texts if text.startswith("Asked to end: going on")]
        assert [path.name for path in pod.home.iterdir() if path.suffix != ".log"] == [".run"]
    finally:
        pod.remove()


def test_an_archive_with_another_digest_is_not_served(pythons: dict[str, Path], archives: Path, tmp_path: Path) -> None:
    (archive,) = archives.glob("*.mar")
    (tmp_path / archive.name).write_bytes(archive.read_bytes() + b" ")
    (tmp_path / f"{archive.name}.sha256").write_text((archives / f"{archive.name}.sha256").read_text())
    pod = Pod(Path(tempfile.mkdtemp(prefix="pod-")), pythons, tmp_path, stack_on_free_ports())
    try:
        pod.start(TORCHSERVE)
        assert pod.running.pop(TORCHSERVE).wait(START_S) == 1
        last = json.loads(pod.log(TORCHSERVE).read_text().splitlines()[-1])
        assert f"{archive.name} is not the archive that it should be" in last["message"]
    finally:
        pod.remove()
