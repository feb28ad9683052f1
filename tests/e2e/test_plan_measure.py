"""``marserve plan measure`` with the real servers: one that runs, and a pod of its own."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import pytest
import requests

from marserve.archive.build import BuiltArchive
from marserve.cli import measuring
from marserve.errors import MarserveError
from marserve.plan import measure, stages
from marserve.plan.measurement import Measurement
from marserve.stack.run_directory import RunDirectory
from marserve.system.loopback import is_free
from tests.e2e.serving import ANSWER_S, Stack


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seconds instead of two minutes."""
    for module, name, seconds in [
        (measure, "WARM_UP_S", 1.0), (measure, "PART_S", 1.5), (measure, "FEWEST", 5), (stages, "ROUND_S", 4.0),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, seconds)


def test_running_stack_is_measured_with_its_processes(served: Stack, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    measuring.add_arguments(parser)
    written = tmp_path / "measurement.json"
    arguments = ["--port", str(served.ports.web_port), "--model", "resnet18", "--output", str(written)]
    assert measuring.run(parser.parse_args(arguments)) in (0, measuring.BUSY_STATUS)
    found = Measurement.read(written)
    described = served.described("resnet18")
    assert (found.model.name, found.model.precision) == ("resnet18", "f32")
    assert found.pod.workers == described.ready_workers
    assert (found.model.batch_size, found.model.batch_delay_s) == (described.batch_size, described.batch_delay_s)
    archive = served.run_directory.model_store / Path(described.archive).name
    assert found.model.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert found.machine is not None
    assert found.pod.threads
    assert found.capacity.per_s > 0
    assert {each.pictures for each in found.groups} >= {1}
    assert min(each.mean_s for each in found.groups) > 0
    assert found.processors is not None
    costs = [cost.of(4.0) for cost in (found.processors.web, found.processors.torchserve, found.processors.worker)]
    assert min(costs) > 0
    # The worker computes; the others pass on.
    assert max(costs) == costs[-1]


def test_pod_of_its_own_answers_and_is_gone_afterwards(resnet18_archive: BuiltArchive) -> None:
    with measuring.own_pod(resnet18_archive.path, 1) as (port, cold_start_s):
        address = measuring.service_of(port)
        models = requests.get(f"{address.url}/models", timeout=ANSWER_S).json()
        facts = measuring.facts_of(port, address, cold_start_s)
        assert models["default"] == "resnet18"
        assert facts.cold_start_s == cold_start_s > 0
        assert facts.sha256 == hashlib.sha256(resnet18_archive.path.read_bytes()).hexdigest()
        assert RunDirectory(port).path.exists()
    assert is_free(port)
    assert not RunDirectory(port).path.exists()


def test_pod_that_does_not_start_is_told_with_its_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mar"
    broken.write_bytes(b"no archive")
    with pytest.raises(MarserveError, match="did not start"), measuring.own_pod(broken, 1):
        pass
