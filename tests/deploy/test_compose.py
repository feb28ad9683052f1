"""The compose file, run by podman-compose, with stand-ins of Debian's for the images of Redis and Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import requests

from tests.deploy.containers import BASE, BUILD_S, HERE, Containers, Pod
from tests.deploy.stopping import lost_when_stopped
from tests.e2e.prometheus import Prometheus
from tests.e2e.serving import quiet_ports
from tests.support import CAT, REPOSITORY

pytestmark = [
    pytest.mark.needs("buildah", "podman", "podman-compose", "runc", "catatonit", "mmdebstrap"),
    pytest.mark.timeout(900),  # the first one waits for the images
]
FILE = REPOSITORY / "deploy" / "container" / "compose.yaml"
REDIS, PROMETHEUS = "localhost/redis:debian", "localhost/prometheus:debian"
#: The program alone of Prometheus: its package brings a web page's libraries.
STAND_INS = f"""
FROM {BASE} AS redis
RUN apt-get update -q && apt-get install -qy --no-install-recommends redis-server

FROM {BASE} AS prometheus
RUN apt-get update -q && apt-get download -q prometheus
RUN dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xC / ./usr/bin/prometheus
RUN install -d -o 65534 -g 65534 /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
"""


@dataclass
class Composed(Pod):
    """The services of the compose file; Prometheus listens on the port after the web service's."""

    prometheus_port: int

    def compose(self, *arguments: str) -> str:
        settings = {
            "MARSERVE_PORT": self.port,
            "MARSERVE_CPUS": 1,
            "PROMETHEUS_PORT": self.prometheus_port,
            "PROMETHEUS_IMAGE": PROMETHEUS,
            "REDIS_IMAGE": REDIS,
        }
        command = ("podman-compose", "--project-name", self.name, "--file", str(FILE), *arguments)
        return self.containers.run("env", *(f"{name}={value}" for name, value in settings.items()), *command)

    def exec(self, role: str, *command: str, check: bool = True) -> str:
        return self.containers.podman("exec", f"{self.name}_{role}_1", *command, check=check)

    def logs(self) -> str:
        return self.compose("logs", "--tail", "30")

    def remove(self) -> None:
        self.compose("down", "--volumes")


@pytest.fixture
def composed(containers: Containers, tmp_path: Path) -> Iterator[Composed]:
    (tmp_path / "Containerfile").write_text(STAND_INS, encoding="utf-8")
    for name, target in ((REDIS, "redis"), (PROMETHEUS, "prometheus")):
        containers.run(
            "buildah", "bud", "--layers", *HERE, "--target", target, "--tag", name, tmp_path, timeout_s=BUILD_S
        )
    composed = Composed(containers, "composed", *quiet_ports(2))
    try:
        composed.compose("up", "--detach")
        composed.wait_until_ready()
        yield composed
    finally:
        composed.remove()


def test_the_compose_file_serves_caches_is_watched_and_ends_without_losing_a_request(composed: Composed) -> None:
    ask = partial(requests.post, f"{composed.url}/classify", data=CAT.read_bytes(), timeout=30)
    first, second = ask(), ask()
    assert second.json()["predictions"] == first.json()["predictions"]
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert composed.exec("redis", "redis-cli", "dbsize").strip() == "1"
    for role in ("torchserve", "web"):
        composed.check_power(role)

    watching = Prometheus(f"http://127.0.0.1:{composed.prometheus_port}")
    for job in ("web", "torchserve"):
        watching.wait_for(f'up{{job="{job}"}} == 1')
    assert "ts_inference_requests_total" in requests.get(f"{composed.url}/metrics/torchserve", timeout=30).text
    rules = requests.get(f"{watching.url}/api/v1/rules", timeout=30).json()["data"]["groups"]
    assert {group["file"].rpartition("/")[2] for group in rules} == {"alerts.rules.yml", "recording.rules.yml"}
    assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}

    assert lost_when_stopped(composed.port, partial(composed.compose, "stop")) == [], composed.logs()
    for service in ("pod", "torchserve", "web", "redis", "prometheus"):
        state = json.loads(composed.containers.podman("inspect", f"composed_{service}_1"))[0]["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False), service
