"""A peer as a candidate: one variant of peer.toml, in a virtual environment made once for each peer."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import ENVIRONMENTS, REPOSITORY
from bench.candidate import RunningServer, Workspace
from bench.errors import CandidateError, InstallationError
from bench.gpu import Device, find_gpu, visible_devices
from bench.peer_files import PEERS, Peer, Variant, substitute
from bench.server_process import marked, network_namespace, started_process
from bench.target import Target
from marserve.errors import MarserveError
from marserve.handler.resnet18.cpu import usable_cores
from marserve.paths import CONFIG, HANDLER
from marserve.setup.pip import pip_install
from marserve.system.files import locked
from marserve.system.loopback import free_ports
from marserve.terminal import say

#: Lent to all peers, and to those that are also measured with our engine.
BASE, ENGINE = ENVIRONMENTS / "base", ENVIRONMENTS / "engine"
BASE_REQUIREMENTS = PEERS / "common" / "requirements.txt"
ENGINE_REQUIREMENTS = PEERS / "common" / "engine-requirements.txt"
#: Holds the digest of the requirements that were installed completely.
STAMP = "installed.stamp"
#: The package that gives a peer its version, where it is not called as the peer is.
PEER_PACKAGES = {"ray_serve": "ray", "pytriton": "nvidia-pytriton", "torchserve_stock": "torchserve"}
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

    @property
    def device(self) -> Device:
        return self.variant.device

    def prepare(self) -> Path:
        """Install it; answers its Python."""
        if self.uses_our_engine and self.precision not in self.archives:
            raise CandidateError(f"There is no {self.precision} archive of ours for its engine.")
        self._python = ensure_peer(self.peer)
        if self.device == "gpu":
            find_gpu(self._python)
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
            "DEVICE": "cuda" if self.device == "gpu" else "cpu",
            **visible_devices(self.device),
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
            stack.enter_context(started_process(command, mark, environment, self.peer.directory, log))
            target = Target(ports[0], self.peer.path, self.peer.form, namespace=namespace, ready=self.peer.ready)
            yield RunningServer(mark, {self.levels[0]: target}, started, tuple(ports), log)

    def _run_prepare(self, values: dict[str, object], mark: str, environment: dict[str, str], log: Path) -> None:
        if not self.variant.prepare:
            return
        command = [substitute(part, values) for part in self.variant.prepare]
        with started_process(command, mark, environment, self.peer.directory, log) as preparing:
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
            "labels": CONFIG / "index_to_name.json",
        }

    def _python_path(self) -> str:
        """The one place where peers find our engine: as the package that an archive has, ``resnet18``."""
        places = [PEERS / "common", *([HANDLER] if self.uses_our_engine else [])]
        return ":".join(map(str, places))


def ensure_peer(peer: Peer) -> Path:
    """The interpreter for ``peer``. Raises InstallationError where its packages cannot be installed."""
    directory = ENVIRONMENTS / peer.name
    try:
        lent = [_ensure(BASE, BASE_REQUIREMENTS, "the packages that all peers share", [])]
        if any(variant.is_ours for variant in peer.variants):
            lent.append(_ensure(ENGINE, ENGINE_REQUIREMENTS, "what our engine needs", lent))
        _ensure(directory, peer.directory / "requirements.txt", peer.title, lent)
    except MarserveError as exc:
        raise InstallationError(f"Its packages cannot be installed: {exc}") from exc
    return directory / "bin" / "python"


def _ensure(directory: Path, requirements: Path, title: str, lent: Sequence[Path]) -> Path:
    """The site-packages of ``directory`` with the ``requirements``, which also sees those ``lent`` to it."""
    text = requirements.read_text(encoding="utf-8")
    digest = hashlib.sha256(f"{sys.version_info[:2]}\n{lent}\n{text}".encode()).hexdigest()
    stamp = directory / STAMP
    with locked(ENVIRONMENTS / "set-up.lock", on_wait=lambda: say("Waiting for another set-up to finish ...")):
        if not stamp.exists() or stamp.read_text(encoding="ascii") != digest:
            _install(directory, requirements, title, lent)
            stamp.write_text(digest, encoding="ascii")
    return _site_packages(directory)


def _install(directory: Path, requirements: Path, title: str, lent: Sequence[Path]) -> None:
    say(f"Setting up {title} ({directory.name}) ...")
    python = directory / "bin" / "python"
    if not python.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        interpreter = getattr(sys, "_base_executable", None) or sys.executable
        done = subprocess.run([interpreter, "-m", "venv", directory], capture_output=True, text=True, check=False)
        if done.returncode:
            raise MarserveError(f"{directory} cannot be made: {done.stdout}{done.stderr}")
    # Appended to the path, so that the peer's own packages come first; there before pip reads what is installed.
    paths = "".join(f"{path}\n" for path in lent)
    (_site_packages(directory) / "base.pth").write_text(paths, encoding="utf-8")
    log = ENVIRONMENTS / f"{directory.name}.log"
    pip_install(python, ["-r", requirements], log_file=log, step=f"Installing {directory.name}", cwd=ENVIRONMENTS)


def _site_packages(directory: Path) -> Path:
    return directory / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def peer_version(peer: str, python: Path) -> str | None:
    """The version of the peer's own package in its environment."""
    package = PEER_PACKAGES.get(peer, peer)
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, cwd=ENVIRONMENTS)
    return done.stdout.strip() or None
