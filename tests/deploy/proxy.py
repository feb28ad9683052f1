"""deploy/haproxy as it is shipped, in front of hosts that a test chooses: @pytest.mark.needs("haproxy")."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from marserve.system.loopback import LOOPBACK
from marserve.system.waiting import wait_until
from tests.e2e.serving import quiet_ports
from tests.support import REPOSITORY

SHIPPED = REPOSITORY / "deploy" / "haproxy"
CONFIGURATION, HOSTS = SHIPPED / "haproxy.cfg", SHIPPED / "hosts.cfg"
#: Seconds for haproxy to listen, or to end.
SOON_S = 10.0


@dataclass(frozen=True)
class Server:
    """A host as haproxy sees it."""

    name: str
    #: UP, DOWN, DRAIN, with how many checks are missing.
    status: str
    #: Requests that it was sent.
    requests: int
    #: Of them, those that had to be sent again, to it or another.
    retries: int


@dataclass(frozen=True)
class Proxy:
    """A running haproxy."""

    url: str
    metrics: str
    control: Path
    log: Path
    #: The master, whose child does the work.
    process: psutil.Process

    def command(self, text: str) -> str:
        """What the run-time interface answers."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SOON_S)
            connection.connect(str(self.control))
            connection.sendall(f"{text}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def servers(self) -> dict[str, Server]:
        """By their names."""
        rows = csv.DictReader(self.command("show stat marserve 4 -1").removeprefix("# ").splitlines())
        return {
            row["svname"]: Server(row["svname"], row["status"], int(row["stot"] or 0), int(row["wretr"] or 0))
            for row in rows
        }

    def is_in_rotation(self, host: str) -> bool:
        return self.servers()[host].status.startswith("UP")

    def cpu_seconds(self) -> float:
        """What it has used of a core so far."""
        every = [process.cpu_times() for process in [self.process, *self.process.children()]]
        return sum(times.user + times.system for times in every)

    def requests(self) -> list[dict[str, Any]]:
        """The log's lines for requests."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def hosts_file(servers: Sequence[str]) -> str:
    """hosts.cfg with ``servers``, each of which is a name, an address and options besides the shipped ones."""
    shipped = [line.lstrip(" #") for line in HOSTS.read_text(encoding="utf-8").splitlines()]
    options = next(line for line in shipped if line.startswith("server ")).split()[3:]
    rules = [line for line in shipped if line.startswith("use-server ")]
    backend = next(line for line in shipped if line.startswith("backend "))
    has_canary = any(server.startswith("canary ") for server in servers)
    lines = [f"server {server} {' '.join(options)}" for server in servers]
    return "\n".join([backend, *(rules if has_canary else []), *lines, ""])


@contextmanager
def proxy(directory: Path, servers: Sequence[str], scheme: str = "http", **variables: str) -> Iterator[Proxy]:
    """The shipped configuration with ``servers`` for hosts."""
    hosts = directory / "hosts.cfg"
    hosts.write_text(hosts_file(servers), encoding="utf-8")
    log, control = directory / "haproxy.log", directory / "haproxy.sock"
    control.unlink(missing_ok=True)  # of one before
    public, metrics = (f"{LOOPBACK}:{port}" for port in quiet_ports(2))
    given = {"PROXY_BIND": public, "PROXY_METRICS": metrics, "PROXY_SOCKET": str(control), **variables}
    if os.geteuid():
        given["PROXY_USER"] = ""
    command = ["haproxy", "-W", "-db", "-f", str(CONFIGURATION), "-f", str(hosts)]
    with log.open("wb") as output:
        process = psutil.Popen(command, env={**os.environ, **given}, stdout=output, stderr=subprocess.STDOUT)
    try:
        assert wait_until(control.exists, SOON_S, while_alive=lambda: process.poll() is None), log.read_text()
        yield Proxy(f"{scheme}://{public}", f"http://{metrics}", control, log, process)
    finally:
        process.terminate()
        process.wait(SOON_S)
