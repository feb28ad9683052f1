"""Which GPU a worker computes on."""

from __future__ import annotations

import pytest

from marserve.handler.resnet18.gpu import GPUS_VARIABLE, gpu_of_worker


def command_line(number: int, *, name: str = "--sock-name", prefix: str = "/tmp/.ts.sock.") -> list[str]:  # noqa: S108
    return ["model_service_worker.py", "--sock-type", "unix", name, f"{prefix}{number}", "--metrics-config", "m.yaml"]


@pytest.mark.parametrize(("gpus", "expected"), [("1", [0, 0, 0, 0]), ("2", [0, 1, 0, 1]), ("3", [0, 1, 2, 0])])
def test_workers_take_the_gpus_in_turns(gpus: str, expected: list[int]) -> None:
    environ = {GPUS_VARIABLE: gpus}
    assert [gpu_of_worker(None, environ, command_line(9000 + worker)) for worker in range(4)] == expected


def test_a_worker_that_listens_on_a_port_has_one_too() -> None:
    assert gpu_of_worker(None, {GPUS_VARIABLE: "2"}, command_line(9001, name="--port", prefix="")) == 1


@pytest.mark.parametrize("environ", [{}, {GPUS_VARIABLE: ""}, {GPUS_VARIABLE: "0"}, {GPUS_VARIABLE: "all"}])
@pytest.mark.parametrize("assigned", [None, 3])
def test_elsewhere_it_is_the_one_that_torchserve_assigned(environ: dict[str, str], assigned: int | None) -> None:
    assert gpu_of_worker(assigned, environ, command_line(9001)) == assigned


def test_a_process_without_a_number_takes_the_first() -> None:
    assert gpu_of_worker(None, {GPUS_VARIABLE: "2"}, ["python", "-m", "pytest"]) == 0
