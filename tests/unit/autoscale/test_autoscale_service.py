"""How ``serve`` is asked for the autoscaler, and what it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from marserve.autoscale.rules import Assignment, Rules
from marserve.cli.main import read
from marserve.cli.serve import stack_options
from marserve.errors import MarserveError
from marserve.stack.options import Concurrency, Options, concurrency
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.services import AutoscalerService
from marserve.stack.torchserve import TorchServe
from marserve.system.waiting import wait_until


@pytest.mark.parametrize(
    ("arguments", "rules"),
    [
        ([], None),
        (["--autoscale", "1..4"], Rules(1, 4)),
        (["--autoscale", "2..2", "--autoscale-target", "50"], Rules(2, 2, target_wait_s=0.05)),
        (["--autoscale", "1..16", "--autoscale-quiet", "7.5"], Rules(1, 16, down_after_s=7.5)),
    ],
)
def test_arguments_become_rules(arguments: list[str], rules: Rules | None) -> None:
    assert stack_options(read("serve", arguments)) == Options(autoscale=rules)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--autoscale", "4"], "'4' is no range of workers such as 1..4"),
        (["--autoscale", "0..4"], "'0..4' is no range of workers such as 1..4"),
        (["--autoscale", "4..1"], "'4..1' is no range of workers such as 1..4"),
        (["--autoscale", "1..4", "--autoscale-target", "0"], "'0' is not a positive number"),
        (["--autoscale", "1..4", "--workers", "2"], "--autoscale chooses the number of workers: leave --workers out"),
        (["--autoscale-quiet", "5"], "--autoscale-target and --autoscale-quiet go with --autoscale MIN..MAX"),
    ],
)
def test_wrong_arguments_are_refused_with_what_is_right(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read("serve", arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


ASSIGNMENT = Assignment(
    ["resnet18", "other"],
    Rules(1, 4, down_after_s=7.5),
    threads=2,
    management_port=Ports.management_port,
    metrics_port=Ports.metrics_port,
    web_host="127.0.0.1",
    web_port=Ports.web_port,
    key_file="key_file.json",
    change_lock="change.lock",
)


@pytest.mark.parametrize(
    ("rules", "cores", "expected"),
    [
        (Rules(1, 4), 8, Concurrency(4, 2, at_start=1)),
        (Rules(1, 64), 8, Concurrency(8, 1, at_start=1)),
        (Rules(3, 8), 2, Concurrency(3, 1, at_start=3)),
    ],
)
def test_threads_are_shared_out_for_the_most_workers_and_the_least_are_started(
    rules: Rules, cores: int, expected: Concurrency, tmp_path: Path
) -> None:
    shared = concurrency(None, cores, autoscale=rules)
    assert shared == expected
    run_directory = RunDirectory(5000, tmp_path)
    torchserve = TorchServe(Path("java"), Ports(), run_directory, tmp_path, Options(), shared, {})
    assert torchserve.settings["default_workers_per_model"] == rules.minimum


@pytest.fixture
def service(tmp_path: Path) -> AutoscalerService:
    run_directory = RunDirectory(5000, tmp_path)
    run_directory.logs.mkdir(parents=True)
    return AutoscalerService(run_directory, ASSIGNMENT)


def test_an_assignment_reaches_the_process_as_it_was() -> None:
    assert Assignment.from_json(ASSIGNMENT.as_json()) == ASSIGNMENT


def test_the_process_watches_outlives_an_absent_torchserve_and_ends_when_asked(service: AutoscalerService) -> None:
    process = service.start()
    try:
        service.wait_until_ready(process)
        assert (
            "Watching resnet18 and other: 1 to 4 workers, threads of each: 2; requests may wait 100 ms"
            in service.log.read_text()
        )
        wait_until(lambda: "The stack cannot be observed" in service.log.read_text(), 60)
        assert process.poll() is None, service.reason()
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert "so nothing is changed" in service.reason()


def test_a_start_that_fails_says_why(service: AutoscalerService) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(0.3); raise SystemExit('no such thing')"]
    with service.log.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    with pytest.raises(MarserveError, match="The autoscaler ended at once:\n  no such thing"):
        service.wait_until_ready(process)
