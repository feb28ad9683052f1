"""The commands on a running stack, which is one that answers pictures all the while."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load

from tests.e2e.operating import MODEL, Edit, done, manage, rename_labels, variant, wait_for_workers, worker_states
from tests.e2e.prometheus import running_prometheus
from tests.e2e.serving import ANSWER_S, SERVE, SharedStack, Stack, shared_stack, wait_for
from tests.e2e.steady_load import CLIENTS, SteadyLoad
from tests.support import REPOSITORY

#: Seconds that the changes of workers and versions are spread over at least: STEADY_LOAD_S=300 makes it a long run.
STEADY_LOAD_S = float(os.environ.get("STEADY_LOAD_S", "0"))


@pytest.fixture(scope="module")
def taking_archives(request: pytest.FixtureRequest) -> Iterator[SharedStack]:
    """A stack of this module's own, that takes new archives; ResNet18 has seeded weights."""
    with shared_stack(request, *SERVE, "--workers", "1", "--model-api") as stack:
        yield stack


@pytest.fixture
def operated(taking_archives: SharedStack) -> Stack:
    """It, as it was started: the first version is the default, with one worker."""
    return taking_archives.as_started()


def test_no_request_fails_while_workers_and_versions_change(operated: Stack, tmp_path: Path) -> None:
    second = variant(operated, tmp_path, "2.0", rename_labels)
    with SteadyLoad(operated).running() as load:
        began = time.monotonic()

        def go_on_at(share: float) -> None:
            time.sleep(max(0.0, began + share * STEADY_LOAD_S - time.monotonic()))

        for share, workers in ((0.1, 4), (0.3, 2)):
            go_on_at(share)
            done(operated, "scale", MODEL, "--workers", str(workers), "--force", "--yes")
        for share in (0.4, 0.5):
            go_on_at(share)
            psutil.Process(operated.worker_pids(MODEL)[0]).kill()
            wait_for_workers(operated, 2)
        go_on_at(0.6)
        done(operated, "scale", MODEL, "--workers", "1", "--yes")
        go_on_at(0.7)
        deployed = done(operated, "deploy", MODEL, "--archive", str(second), "--no-compare", "--yes")
        assert (deployed["version"], deployed["version_before"], deployed["workers"]) == ("2.0", "1.0", 1)
        load.wait_for(CLIENTS)
        assert load.last_version == "2.0"
        go_on_at(0.9)
        rolled_back = done(operated, "rollback", MODEL, "--yes")
        assert (rolled_back["version"], rolled_back["version_before"]) == ("1.0", "2.0")
        load.wait_for(CLIENTS)
        assert load.last_version == "1.0"
        go_on_at(1)
        lasted = time.monotonic() - began
    print(f"{CLIENTS} clients, {lasted:.0f} s: answers by version {dict(load.versions)}, {len(load.failures)} failed")
    assert load.failures == []
    assert load.answered > 100
    assert set(load.versions) == {"1.0", "2.0"}


def test_what_fails_after_the_switch_of_the_default_goes_back(operated: Stack, tmp_path: Path) -> None:
    fifth = variant(operated, tmp_path, "5.0", lambda _: None)
    with SteadyLoad(operated).running() as load:
        done(operated, "deploy", MODEL, "--archive", str(fifth), "--yes")
        before = versions_and_workers(operated)
        # So soon no version is known to be idle.
        returncode, _, complaint = manage(operated, "drain", MODEL, "--timeout", "0.1", "--yes")
        assert (returncode, "still has work" in complaint) == (1, True)
        assert versions_and_workers(operated) == before
        command = [str(REPOSITORY / "scripts" / "marserve"), "rollback", MODEL, "--yes"]
        with subprocess.Popen(command, env=operated.environment, stdout=subprocess.PIPE, text=True) as rollback:
            assert rollback.stdout is not None
            while "is the default now" not in (line := rollback.stdout.readline()):
                assert line
            rollback.send_signal(signal.SIGINT)
            assert f"Undoing: making {MODEL} 5.0 the default again" in rollback.stdout.read()
            assert rollback.wait(ANSWER_S) == 128 + signal.SIGINT
        assert versions_and_workers(operated) == before
        load.wait_for(CLIENTS)
        assert load.last_version == "5.0"
        done(operated, "rollback", MODEL, "--yes")
        load.wait_for(CLIENTS)
        assert load.last_version == "1.0"
    assert load.failures == []


def break_setting(files: dict[str, bytes]) -> None:
    config = files["model-config.yaml"]
    files["model-config.yaml"] = config.replace(b"default_top_k: 5", b"default_top_k: many")


def shift_classes(files: dict[str, bytes]) -> None:
    weights = next(tensor for tensor in load(files["network.safetensors"]).values() if tensor.shape == (1000, 512))
    assert weights.tobytes() in files["network.bin"]
    files["network.bin"] = files["network.bin"].replace(weights.tobytes(), np.roll(weights, 1, axis=0).tobytes())


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        pytest.param(break_setting, "handler.default_top_k = 'many'", id="crashes on load"),
        pytest.param(shift_classes, "it agrees on 0.0% of the pictures", id="answers differ"),
        pytest.param(rename_labels, "its labels differ: class 0", id="wrong labels"),
    ],
)
def test_a_broken_version_never_becomes_the_default(
    operated: Stack, tmp_path: Path, edit: Edit, complaint: str
) -> None:
    broken = variant(operated, tmp_path, "9.0", edit)
    before = {path.name for path in operated.run_directory.model_store.iterdir()}
    with SteadyLoad(operated).running() as load:
        deployed = manage(operated, "deploy", MODEL, "--archive", str(broken), "--yes")
        load.wait_for(CLIENTS)
    assert deployed[0] == 1
    assert complaint in deployed[2]
    assert load.failures == []
    assert set(load.versions) == {"1.0"}
    status = manage(operated, "status")[1]
    assert ("9.0", False) not in {(version["version"], version["is_default"]) for version in status["versions"]}
    assert {path.name for path in operated.run_directory.model_store.iterdir()} == before


def test_an_interrupted_deployment_leaves_nothing_behind(operated: Stack, tmp_path: Path) -> None:
    fourth = variant(operated, tmp_path, "4.0", rename_labels)
    before = manage(operated, "status")[1]["versions"]
    command = [str(REPOSITORY / "scripts" / "marserve"), "deploy", MODEL, "--archive", str(fourth)]
    with subprocess.Popen(
        [*command, "--no-compare", "--yes"], env=operated.environment, stdout=subprocess.PIPE, text=True
    ) as deploy:
        assert deploy.stdout is not None
        assert deploy.stdout.readline().startswith("Registering")
        wait_for(lambda: bool(worker_states(operated, "4.0")))
        deploy.send_signal(signal.SIGINT)
        assert "Undoing" in deploy.stdout.read()
        assert deploy.wait(ANSWER_S) == 128 + signal.SIGINT
    after = manage(operated, "status")[1]["versions"]
    names = [
        [(version["model"], version["version"], version["is_default"]) for version in seen] for seen in (before, after)
    ]
    assert names[0] == names[1]
    assert not list(operated.run_directory.model_store.glob(f"{MODEL}-4.0-*"))


def test_a_worker_that_was_given_up_is_shown_and_brought_back(operated: Stack, tmp_path: Path) -> None:
    needed = give_up_worker(operated, tmp_path, "3.0")
    returncode, status, _ = manage(operated, "status")
    assert returncode == 1
    assert any("marserve recover" in problem for problem in status["problems"])
    complaints: list[str] = []

    def is_refused() -> bool:
        returncode, _, complaint = manage(operated, "recover", "--yes")
        complaints.append(complaint)
        return returncode == 1

    wait_for(is_refused)  # at once, unless the supervisor has just begun to try the same: then no worker is dead
    assert "description.json of the archive cannot be used" in complaints[-1]
    wait_for(lambda: worker_states(operated, "3.0") == ["dead"])
    needed.with_suffix(".away").rename(needed)
    recovered = done(operated, "recover", "--yes")["recovered"]
    assert [(one["model"], one["version"], one["workers"]) for one in recovered] == [(MODEL, "3.0", 1)]
    assert worker_states(operated, "3.0") == ["ready"]
    assert operated.predict().status_code == 200
    assert done(operated, "recover", "--yes") == {"recovered": []}


@pytest.mark.needs("prometheus")
def test_a_worker_that_was_given_up_is_alerted_until_it_is_back(operated: Stack, tmp_path: Path) -> None:
    with running_prometheus(tmp_path, operated.ports, hasty=True) as prometheus:
        needed = give_up_worker(operated, tmp_path, "6.0")
        for alert in ("DeadWorkers", "NoReadyWorker"):
            prometheus.wait_for(f'ALERTS{{alertname="{alert}", alertstate="firing"}}')
        needed.with_suffix(".away").rename(needed)
        done(operated, "recover", "--yes")
        prometheus.wait_for("absent(ALERTS)")


def give_up_worker(stack: Stack, directory: Path, version: str) -> Path:
    """Have a new default version whose only worker is dead, since a file that it needs is renamed; answers the file."""
    archive = variant(stack, directory, version, give_up_soon)
    done(stack, "deploy", MODEL, "--archive", str(archive), "--yes")
    needed = next(
        file
        for file in Path(stack.state().temp).glob("models/*/description.json")
        if json.loads(file.read_text(encoding="utf-8"))["version"] == version
    )
    needed.rename(needed.with_suffix(".away"))
    psutil.Process(stack.worker_pids(MODEL)[0]).kill()
    wait_for(lambda: worker_states(stack, version) == ["dead"])
    return needed


def give_up_soon(files: dict[str, bytes]) -> None:
    files["model-config.yaml"] = b"maxRetryTimeoutInSec: 1\n" + files["model-config.yaml"]


def test_what_is_hard_to_take_back_needs_consent(operated: Stack) -> None:
    returncode, _, complaint = manage(operated, "scale", MODEL, "--workers", "0")
    assert (returncode, "--yes" in complaint) == (2, True)
    assert operated.predict().status_code == 200


def test_more_workers_than_cores_are_refused(operated: Stack) -> None:
    returncode, _, complaint = manage(operated, "scale", MODEL, "--workers", "999", "--yes")
    assert (returncode, "usable cores" in complaint) == (1, True)


def test_a_version_that_is_served_already_is_refused_with_what_to_do(operated: Stack, tmp_path: Path) -> None:
    served = next(version for version, is_default, _ in versions_and_workers(operated) if is_default)
    again = variant(operated, tmp_path, served, give_up_soon)
    returncode, _, complaint = manage(operated, "deploy", MODEL, "--archive", str(again), "--yes")
    assert returncode == 1
    assert "marserve build" in complaint


def test_logs_of_all_services_come_merged(operated: Stack) -> None:
    logged = operated.run("marserve", "logs", "--json", "--lines", "100000")
    lines = [json.loads(line) for line in logged.stdout.splitlines()]
    assert {"ts_log", "model_log", "web"} <= {line["source"] for line in lines}
    times = [line["time"] for line in lines]
    assert times == sorted(times)


def test_a_stop_under_load_answers_all_that_was_accepted(operated: Stack) -> None:
    with SteadyLoad(operated).running() as load:
        stopped = operated.run("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert load.failures == []
    assert load.refused == CLIENTS


def versions_and_workers(stack: Stack) -> list[tuple[str, bool, int]]:
    """Each version of the model, whether it is the default, and how many workers it has."""
    versions = manage(stack, "status", "--interval", "0.1")[1]["versions"]
    return [
        (listed["version"], listed["is_default"], len(listed["workers"]))
        for listed in versions
        if listed["model"] == MODEL
    ]
