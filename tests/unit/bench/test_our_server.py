"""This project's stack is built, started and stopped by its own scripts, away from what the clone has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench import our_server, server_process
from bench.candidate import Workspace
from bench.errors import CandidateError
from bench.our_server import GPU_PRECISION, OurServer
from marserve.client.management import ManagementClient

#: Stands for scripts/marserve and scripts/stop: notes how it was called; serve leaves a process and a key file behind.
SCRIPT = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >> "$MARSERVE_HOME/calls"
case $1 in
fail) echo "Why it failed."; exit 3 ;;
serve)
    sleep 60 &
    mkdir -p "$MARSERVE_HOME/.run/$MARSERVE_WEB_PORT"
    echo '{"management": {"key": "m", "expiration time": "2030-01-01T00:00:00Z"}, "API": {"key": "a"},
        "inference": {"key": "token", "expiration time": "2030-01-01T00:00:00Z"}}' \\
        > "$MARSERVE_HOME/.run/$MARSERVE_WEB_PORT/key_file.json" ;;
esac
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in ("marserve", "stop"):
        script = tmp_path / "scripts" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(SCRIPT, encoding="utf-8")
    monkeypatch.setattr(our_server, "REPOSITORY", tmp_path)
    monkeypatch.setattr(our_server, "ENVIRONMENTS", tmp_path)
    return Workspace(tmp_path, tmp_path / "results", tmp_path / "photographs", tmp_path / "weights.pth")


def calls(server: OurServer) -> list[str]:
    return (server.home / "calls").read_text(encoding="utf-8").splitlines()


def test_stack_runs_in_a_home_of_its_own_and_leaves_its_archives_alone(workspace: Workspace) -> None:
    server = OurServer("bf16", workspace)
    server.prepare()
    with server.run() as running:
        assert len(server_process.members(running.mark)) == 1
        assert running.targets["TorchServe"].headers == {"Authorization": "Bearer token"}
        assert running.targets["web"].port != running.targets["TorchServe"].port
    model = f"--weights {workspace.weights} --precision bf16"
    assert calls(server) == [
        f"marserve build --model-name resnet18 {model}", f"marserve serve --detach {model}", "stop ",
    ]  # fmt: skip
    assert server_process.members(running.mark) == []
    assert list((server.home / ".run").iterdir()) == []


def test_int8_is_fitted_to_the_photographs(workspace: Workspace) -> None:
    server = OurServer("int8", workspace)
    server.prepare()
    assert calls(server)[0].endswith(f"--calibration {workspace.photographs} --accept-accuracy-loss")


def describe(engine: str, device: str) -> Callable[..., SimpleNamespace]:
    running = {"engine": engine, "device": device}
    return lambda *_arguments, **_options: SimpleNamespace(description={"running": running})


def test_stack_on_a_gpu_computes_in_half_precision_and_sees_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ManagementClient, "describe", describe("torch", "NVIDIA H100"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    server = OurServer(GPU_PRECISION, workspace, "gpu")
    server.prepare()
    with server.run() as running:
        (pid,) = server_process.members(running.mark)
        environment = psutil.Process(pid).environ()
    assert environment["CUDA_VISIBLE_DEVICES"] == "0"
    assert (server.key, server.title) == ("ours/GPU f16", "this project, GPU f16")
    assert all(call.endswith("--precision auto") for call in calls(server)[:2])


def test_gpu_is_hidden_from_the_other_stacks(workspace: Workspace) -> None:
    server = OurServer("f32", workspace)
    server.home.mkdir(parents=True)
    with server.run() as running:
        (pid,) = server_process.members(running.mark)
        assert psutil.Process(pid).environ()["CUDA_VISIBLE_DEVICES"] == ""


def test_stack_whose_workers_do_not_use_the_gpu_is_left_out(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ManagementClient, "describe", describe("openvino", "EPYC"))
    server = OurServer(GPU_PRECISION, workspace, "gpu")
    server.home.mkdir(parents=True)
    with pytest.raises(CandidateError, match="openvino on EPYC, not on a GPU"), server.run():
        pass


def test_failure_has_its_reason(workspace: Workspace) -> None:
    (workspace.temp / "scripts" / "marserve").write_text(SCRIPT.replace("fail)", "build)"), encoding="utf-8")
    with pytest.raises(CandidateError, match=r"marserve build failed: Why it failed\."):
        OurServer("f32", workspace).prepare()
