"""A Ray cluster on one machine: hosts are network namespaces, each with a /tmp/ray and a /dev/shm of its own.

Ray finds its processes by files below /tmp/ray and shares memory through /dev/shm, so that two hosts that share these
are one. It takes root, iproute2 and util-linux.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from marserve.system.waiting import wait_until
from tests.deploy.networks import Network, network

RAY = str(Path(sys.executable).parent / "ray")
PORT = 6379
#: Bytes of a host's object store, and of its /dev/shm, which must hold that.
OBJECT_STORE_BYTES, SHM_BYTES = 150_000_000, 200_000_000
#: A folder that each host has for itself.
OWN_FOLDER = "/tmp/ray"  # noqa: S108
#: Of the command: a mount namespace in which Ray meets nothing of another host.
OWN_MOUNTS = (
    "mkdir -p /tmp/ray && mount -t tmpfs -o size=1g tmpfs /tmp/ray && "
    f'mount -t tmpfs -o size={SHM_BYTES} tmpfs /dev/shm && exec "$@"'
)
#: The head notices a host that is lost after about 3 seconds instead of 15.
QUICK_CHECKS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
#: Seconds for a host of Ray to join on a busy machine.
START_S = 90.0


@dataclass
class RayHosts:
    """The first host is the head; drivers run there."""

    network: Network
    logs: Path
    cpus: Sequence[float]
    token: str | None
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.network.addresses[0]}:{PORT}"

    @property
    def environment(self) -> dict[str, str]:
        """Of Ray's own processes, and of drivers that may join."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        authentication = {"RAY_AUTH_MODE": "disabled"} if self.token is None else {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token
        }  # fmt: skip
        return own | QUICK_CHECKS | authentication

    def start(self, host: int, variables: Mapping[str, str] | None = None) -> None:
        """A host joins, the first as the head; its Ray has ``variables`` besides."""
        address = self.network.addresses[host]
        role = ["--head", f"--port={PORT}", "--include-dashboard=false"] if host == 0 else [f"--address={self.address}"]
        command = [
            *("ip", "netns", "exec", self.network.namespaces[host]),
            *("unshare", "--mount", "sh", "-c", OWN_MOUNTS, "sh"),
            *(sys.executable, RAY, "start", *role, f"--node-ip-address={address}", f"--num-cpus={self.cpus[host]}"),
            *(f"--object-store-memory={OBJECT_STORE_BYTES}", "--disable-usage-stats", "--block"),
        ]
        with self.log(host).open("wb") as log:
            process = subprocess.Popen(
                command, env=self.environment | dict(variables or {}), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.started.append(process)

        def said() -> str:
            return self.log(host).read_text(errors="replace")

        assert wait_until(lambda: "--block" in said(), START_S, while_alive=lambda: process.poll() is None), said()

    def is_up(self, host: int) -> bool:
        return "raylet" in map(name_of, self.network.processes(host))

    def log(self, host: int) -> Path:
        return self.logs / f"host{host}.log"

    def inside(self, host: int, command: Sequence[str]) -> list[str]:
        """``command`` as it is run on a host, beside its Ray."""
        return ["nsenter", f"--target={self.raylet(host).pid}", "--net", "--mount", "--wd=/", "--", *command]

    def raylet(self, host: int) -> psutil.Process:
        (raylet,) = [one for one in self.network.processes(host) if name_of(one) == "raylet"]
        return raylet

    def popen(
        self, command: Sequence[str], log: Path, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """A driver on the head."""
        with log.open("ab") as file:
            return subprocess.Popen(
                self.inside(0, command), env=self.environment | dict(variables or {}),
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip


def name_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return process.name()
    return ""


@contextmanager
def ray_hosts(logs: Path, cpus: Sequence[float], *, token: str | None = "0" * 32) -> Iterator[RayHosts]:
    """A cluster of as many hosts as ``cpus`` has numbers, ready; all of it is gone in the end."""
    with network(len(cpus)) as made:
        hosts = RayHosts(made, logs, cpus, token)
        try:
            for host in range(len(cpus)):
                hosts.start(host)
            yield hosts
        finally:
            for host in range(len(cpus)):
                made.kill(host)
            for process in hosts.started:
                process.wait(10)
