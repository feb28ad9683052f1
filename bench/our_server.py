"""This project's stack as a candidate: started by ./scripts/serve, asked at TorchServe and at the web service."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.bodies import BodyFormat
from bench.candidates import RunningServer
from bench.checkout import refresh_checkout
from bench.errors import CandidateError
from bench.marked_process import marked, process
from bench.target import Target
from bench.workspace import Workspace
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, remove_tree
from marserve.system.ports import free_ports
from marserve.torchserve.key_file import Kind, read_keys
from marserve.variables import variable

#: Seconds for a start that builds its archive first; quantising takes longest.
BUILD_S = 600
#: Seconds for a start whose archive is there.
START_S = 150
LEVELS = ("TorchServe", "web")


@dataclass
class OurServer:
    """``workers`` and ``threads`` None are the stack's own choice; ``cores`` restricts it to so many."""

    precision: str
    workspace: Workspace
    workers: int | None = None
    threads: int | None = None
    cores: int | None = None
    levels: tuple[str, ...] = LEVELS
    uses_our_engine: bool = True
    #: Where it is built and started; made by ``prepare`` unless another server's is given.
    checkout: Path | None = None
    _ports: Ports = field(default_factory=Ports, init=False)

    @property
    def key(self) -> str:
        return f"ours/{self.precision}{self._suffix}"

    @property
    def title(self) -> str:
        return f"this project, {self.precision}{self._suffix}"

    @property
    def _suffix(self) -> str:
        named = ((self.workers, "workers"), (self.threads, "threads"), (self.cores, "cores"))
        return "".join(f" {number} {noun}" for number, noun in named if number is not None)

    def prepare(self) -> None:
        """Build the archive with a start that is not measured."""
        threads = f"-{self.threads}threads" if self.threads else ""
        self.checkout = refresh_checkout(f"{self.precision}{threads}", self.threads)
        if self.precision == "int8":
            self._quantize(self.checkout)
        with self._started(BUILD_S, builds=True):
            pass

    def _quantize(self, checkout: Path) -> None:
        """Build the int8 archive; seeded weights lie closer to each other than the accuracy guard lets pass."""
        log = self.workspace.logs / "quantization.log"
        command = [
            "bash", str(checkout / "scripts" / "marserve"), "build",
            "--model-name", "resnet18", "--weights", str(self.workspace.weights), "--precision", "int8",
            "--calibration", str(self.workspace.photographs), "--accept-accuracy-loss",
        ]  # fmt: skip
        with marked("quantization") as mark, process(command, mark, {}, checkout, log) as building:
            try:
                status = building.wait(BUILD_S)
            except subprocess.TimeoutExpired as exc:
                raise CandidateError(f"Quantising did not end in {BUILD_S} s; see {log.name}.") from exc
        if status:
            raise CandidateError(f"The int8 archive cannot be built: {_last_lines(log)}")

    def unpack(self) -> Path:
        """The archive's content, for engines in other servers."""
        assert self.checkout is not None  # noqa: S101 - after prepare
        directory = self.workspace.temp / f"archive-{self.precision}"
        shutil.rmtree(directory, ignore_errors=True)
        with zipfile.ZipFile(self.checkout / "model_store" / "resnet18.mar") as archive:
            archive.extractall(directory)
        return directory

    @contextmanager
    def run(self) -> Iterator[RunningServer]:
        with self._started(START_S) as running:
            yield running

    def management_token(self) -> str:
        """The token that the management API of the running stack asks for."""
        return self._token(self._ports, "management")

    @contextmanager
    def _started(self, patience_s: float, *, builds: bool = False) -> Iterator[RunningServer]:
        if self.checkout is None:
            self.prepare()
        assert self.checkout is not None  # noqa: S101 - prepare has set it
        names = list(asdict(Ports()))
        self._ports = ports = Ports(**dict(zip(names, free_ports(len(names)), strict=True)))
        environment = {variable(name): str(port) for name, port in asdict(ports).items()}
        # Every picture is computed: the cache would answer the second round by itself.
        environment[variable("cache_max_entries")] = "0"
        log = self.workspace.logs / f"{self.key.replace('/', '-').replace(' ', '_')}.log"
        started = time.monotonic()
        with marked(self.key) as mark, process(self._command(builds), mark, environment, self.checkout, log) as serve:
            try:
                try:
                    status = serve.wait(patience_s)
                except subprocess.TimeoutExpired as exc:
                    raise CandidateError(f"./scripts/serve did not end in {patience_s:.0f} s; see {log.name}.") from exc
                if status:
                    raise CandidateError(f"./scripts/serve failed: {_last_lines(log)}")
                yield RunningServer(
                    mark, self._targets(ports), started, (ports.inference_port, ports.management_port), log
                )
            finally:
                self._stop(environment)

    def _command(self, builds: bool) -> list[str]:
        restriction = [] if self.cores is None else ["taskset", "--cpu-list", f"0-{self.cores - 1}"]
        arguments = ["--detach", "--weights", str(self.workspace.weights), "--precision", self.precision]
        if builds and self.precision == "int8":
            arguments += ["--calibration", str(self.workspace.photographs)]
        if self.workers is not None:
            arguments += ["--workers", str(self.workers)]
        return [*restriction, f"{self.checkout}/scripts/serve", *arguments]

    def _targets(self, ports: Ports) -> dict[str, Target]:
        authorization = {"Authorization": f"Bearer {self._token(ports, 'inference')}"}
        targets = {
            "TorchServe": Target(ports.inference_port, "/predictions/resnet18", BodyFormat(), authorization),
            "web": Target(ports.web_port, "/predict?top_k=5", BodyFormat("multipart", "file")),
        }
        return {level: targets[level] for level in self.levels}

    def _token(self, ports: Ports, kind: Kind) -> str:
        assert self.checkout is not None  # noqa: S101 - it runs
        run_directory = RunDirectory(ports.web_port, self.checkout / ".run")
        return read_keys(run_directory.key_file).tokens[kind].key

    def _stop(self, environment: dict[str, str]) -> None:
        subprocess.run(
            [f"{self.checkout}/scripts/stop"], env={**os.environ, **environment}, capture_output=True, check=False
        )
        assert self.checkout is not None  # noqa: S101 - it was started
        remove_tree(RunDirectory(self._ports.web_port, self.checkout / ".run").path)


def _last_lines(log: Path) -> str:
    """The reason and what was concluded from it."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " / ".join(line.strip() for line in lines[-3:]) or "it said nothing"
