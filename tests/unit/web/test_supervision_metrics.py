"""What the web service's metrics say of its supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from marserve.stack.restarts import Restart, Restarts
from marserve.system.processes import record
from marserve.web.metrics import SupervisionMetrics


def told(file: Path) -> dict[str, float]:
    families = SupervisionMetrics(file).collect()
    return {
        sample.name + sample.labels.get("service", ""): sample.value for family in families for sample in family.samples
    }


def test_a_supervisor_that_has_ended_is_told_with_what_it_had_restarted(tmp_path: Path) -> None:
    file = tmp_path / "supervision.json"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        restarts = Restarts(supervisor=record("serve", process.pid))
        restarts.add(Restart("web", "it ended"))
        restarts.write(file)
        assert (told(file)["supervisor_up"], told(file)["supervisor_restarts_totalweb"]) == (1, 1)
        process.kill()
    assert (told(file)["supervisor_up"], told(file)["supervisor_restarts_totalweb"]) == (0, 1)


def test_of_a_supervisor_in_another_container_only_what_it_had_restarted_is_told(tmp_path: Path) -> None:
    file = tmp_path / "supervision.json"
    machine, namespace, begun = record("serve", os.getpid()).boot.split()
    elsewhere = replace(record("serve", os.getpid()), boot=f"{machine} {namespace}0 {begun}")
    restarts = Restarts(supervisor=elsewhere)
    restarts.add(Restart("worker", "it ended"))
    restarts.write(file)
    assert told(file)["supervisor_restarts_totalworker"] == 1
    assert "supervisor_up" not in told(file)


@pytest.mark.parametrize("content", [None, "", "{}", '{"counts": {}}', '{"counts": {}, "supervisor": null}', "[1]"])
def test_where_no_file_says_who_watches_nothing_is_told(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "supervision.json"
    if content is not None:
        file.write_text(content)
    assert "supervisor_up" not in told(file)
