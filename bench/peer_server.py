"""A peer as a candidate: one variant of peer.toml."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.candidates import RunningServer
from bench.environments import ensure_peer
from bench.errors import CandidateError
from bench.marked_process import marked, process
from bench.network_namespace import network_namespace
from bench.peer_files import PEERS, Peer, Variant, substitute
from bench.target import Target
from bench.workspace import LABELS, REPOSITORY, Workspace
from marserve.handler.resnet18.cpu import usable_cores
from marserve.system.ports import free_ports

#: Seconds that a peer's ``prepare`` may take.
PREPARE_S = 300
NAMESPACE = "bench-peer"


@dataclass
class PeerServer:
    """One variant of a peer; with our engine in ``precision``."""

    peer: Peer
    variant: Variant
    workspace: Workspace
    #: Our archive, unpacked, by precision.
    archives: dict[str, Path]
    precision: str = "f32"
    levels: tuple[str, ...] = ("server",)
    _python: Path | None = field(default=None, init=False)

    @property
    def key(self) -> str:
        suffix = f" {self.precision}" if self.uses_our_engine else ""
        return f"{self.peer.name}/{self.variant.name}{suffix}"

    @property
    def title(self) -> str:
        suffix = f" {self.precision}" if self.uses_our_engine else ""
        return f"{self.peer.title}, {self.variant.name}{suffix}"

    @property
    def uses_our_engine(self) -> bool:
        return self.variant.is_ours

    def prepare(self) -> Path:
        """Install it; answers its Python."""
        if self.uses_our_engine and self.precision not in self.archives:
            raise CandidateError(f"There is no {self.precision} archive of ours for its engine.")
        self._python = ensure_peer(self.peer)
        return self._python

    @contextmanager
    def run(self) -> Iterator[RunningServer]:
        if self._python is None:
            self.prepare()
        ports = free_ports(1 + self.peer.extra_ports)
        temp = self.workspace.temp / "peer"
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir()
        values = self._values(ports, temp)
        environment = {
            "PYTHONPATH": self._python_path(),
            "TMPDIR": str(temp),
            "PYTHONUNBUFFERED": "1",
            **{
                name: substitute(text, values)
                for name, text in {**self.peer.environment, **self.variant.environment}.items()
            },
        }
        log = self.workspace.logs / f"{self.key.replace('/', '-').replace(' ', '_')}.log"
        with ExitStack() as stack:
            namespace = stack.enter_context(network_namespace(NAMESPACE)) if self.peer.namespace else None
            mark = stack.enter_context(marked(self.key))
            self._run_prepare(values, mark, environment, log)
            command = [substitute(part, values) for part in self.variant.command]
            if namespace is not None:
                command = ["ip", "netns", "exec", namespace, *command]
            started = time.monotonic()
            stack.enter_context(process(command, mark, environment, self.peer.directory, log))
            target = Target(
                ports[0], self.peer.path, self.peer.body, self.peer.headers, namespace=namespace, ready=self.peer.ready
            )
            yield RunningServer(mark, {self.levels[0]: target}, started, tuple(ports), log)

    def _run_prepare(self, values: dict[str, object], mark: str, environment: dict[str, str], log: Path) -> None:
        if not self.variant.prepare:
            return
        command = [substitute(part, values) for part in self.variant.prepare]
        with process(command, mark, environment, self.peer.directory, log) as preparing:
            try:
                status = preparing.wait(PREPARE_S)
            except subprocess.TimeoutExpired as exc:
                raise CandidateError(f"Its preparation did not end in {PREPARE_S} s; see {log.name}.") from exc
        if status:
            raise CandidateError(f"Its preparation failed (status {status}); see {log.name}.")

    def _values(self, ports: list[int], temp: Path) -> dict[str, object]:
        return {
            "python": self._python,
            "port": ports[0],
            **{f"port{number}": port for number, port in enumerate(ports) if number},
            "repository": REPOSITORY,
            "archive": self.archives.get(self.precision, ""),
            "precision": self.precision,
            "cores": usable_cores(),
            "temp": temp,
            "peer": self.peer.directory,
            "common": PEERS / "common",
            "weights": self.workspace.weights,
            "labels": LABELS,
        }

    def _python_path(self) -> str:
        places = [PEERS / "common", *([REPOSITORY / "handler"] if self.uses_our_engine else [])]
        return ":".join(map(str, places))
