"""A real Prometheus with the project's own configuration and rules, watching a real stack."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import requests
import yaml

from marserve.stack.ports import Ports
from marserve.system.loopback import free_ports
from marserve.system.waiting import wait_until
from tests.support import REPOSITORY

MONITORING = REPOSITORY / "deploy" / "monitoring"
SOON_S = 30


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that ``expression`` gives now, those without a number left out."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10)
        content = answer.json()
        assert content["status"] == "success", f"{expression}: {content}"
        return [series for series in content["data"]["result"] if series["value"][1] != "NaN"]

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """The same, once there are any."""
        found = wait_until(lambda: self.query(expression), SOON_S, poll_s=0.5)
        assert found, f"{expression} gives nothing"
        return found


@contextmanager
def running_prometheus(directory: Path, ports: Ports, *, hasty: bool = False) -> Iterator[Prometheus]:
    """One that watches the stack on ``ports`` from ``directory``; ``hasty``: alerts need seconds instead of minutes."""
    (port,) = free_ports(1)
    command = [
        "prometheus",
        f"--config.file={_configure(directory, ports, hasty)}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = directory / "prometheus.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            is_ready = partial(_answers, f"http://127.0.0.1:{port}/-/ready")
            assert wait_until(is_ready, SOON_S, while_alive=lambda: process.poll() is None), log.read_text()
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def _configure(directory: Path, ports: Ports, hasty: bool) -> Path:
    """The project's own configuration, with the stack's ports and seconds between scrapes."""
    for rules in MONITORING.glob("*.rules.yml"):
        text = rules.read_text(encoding="utf-8")
        (directory / rules.name).write_text(
            re.sub(r"\bfor: (\d+)m", r"for: \1s", text) if hasty else text, encoding="utf-8"
        )
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    watched = {"web": ports.web_port, "torchserve": ports.metrics_port}
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{watched.pop(job['job_name'])}"]}]
    assert not watched
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False
