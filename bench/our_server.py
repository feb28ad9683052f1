"""This project's stack as a candidate: started by ./scripts/serve, measured at TorchServe and at the web service."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import ENVIRONMENTS, REPOSITORY
from bench.candidate import RunningServer, Workspace
from bench.errors import CandidateError
from bench.gpu import Device, visible_devices
from bench.server_process import marked, started_process
from bench.target import BodyFormat, Target
from marserve.client.errors import ClientError
from marserve.client.management import ManagementClient
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, remove_tree
from marserve.system.loopback import LOOPBACK, free_ports
from marserve.torchserve.key_file import read_keys
from marserve.variables import variable

MODEL = "resnet18"
#: Seconds to build an archive; quantizing takes longest.
BUILD_S = 600
#: Seconds for a start whose archive is there.
START_S = 150
LEVELS = ("TorchServe", "web")
#: What ``precision: auto`` is on a GPU.
GPU_PRECISION = "f16"


@dataclass
class OurServer:
    """This project in one precision, with its own choice of workers and threads."""

    precision: str
    workspace: Workspace
    device: Device = "cpu"
    levels: tuple[str, ...] = LEVELS
    uses_our_engine: bool = True

    @property
    def key(self) -> str:
        return f"ours/{self._name}"

    @property
    def title(self) -> str:
        return f"this project, {self._name}"

    @property
    def home(self) -> Path:
        """Its MARSERVE_HOME: built archives stay for the next run, and the clone's own are left alone."""
        return ENVIRONMENTS / "stacks" / self._name.replace(" ", "-")

    @property
    def _name(self) -> str:
        return f"GPU {self.precision}" if self.device == "gpu" else self.precision

    def prepare(self) -> None:
        """Build the archive. Raises CandidateError where that fails."""
        self.home.mkdir(parents=True, exist_ok=True)
        command = ["build", "--model-name", MODEL, *self._model()]
        if self.precision == "int8":
            # Seeded weights lie closer to each other than the accuracy guard lets pass.
            command += ["--calibration", str(self.workspace.photographs), "--accept-accuracy-loss"]
        with self._marserve(command, {}, BUILD_S):
            pass

    def unpack(self) -> Path:
        """The archive's content, for engines in other servers."""
        directory = self.workspace.temp / f"archive-{self.precision}"
        shutil.rmtree(directory, ignore_errors=True)
        with zipfile.ZipFile(self.home / "model_store" / f"{MODEL}.mar") as archive:
            archive.extractall(directory)
        return directory

    @contextmanager
    def run(self) -> Iterator[RunningServer]:
        names = list(asdict(Ports()))
        ports = Ports(**dict(zip(names, free_ports(len(names)), strict=True)))
        environment = {variable(name): str(port) for name, port in asdict(ports).items()}
        # Every picture is computed: the cache would answer the second round by itself.
        environment[variable("cache_max_entries")] = "0"
        started = time.monotonic()
        try:
            with self._marserve(["serve", "--detach", *self._model()], environment, START_S) as mark:
                try:
                    listening = (ports.inference_port, ports.management_port)
                    if self.device == "gpu":
                        self._check_gpu(ports)
                    yield RunningServer(mark, self._targets(ports), started, listening, self._log)
                finally:
                    command = ["bash", str(REPOSITORY / "scripts" / "stop")]
                    subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=False)
        finally:
            remove_tree(self._run_directory(ports).path)

    def _model(self) -> list[str]:
        precision = "auto" if self.device == "gpu" else self.precision
        return ["--weights", str(self.workspace.weights), "--precision", precision]

    def _check_gpu(self, ports: Ports) -> None:
        """A worker that cannot use the GPU computes on the processor. Raises CandidateError."""
        management = f"http://{LOOPBACK}:{ports.management_port}"
        client = ManagementClient(management, key_file=self._run_directory(ports).key_file)
        try:
            description = client.describe(MODEL, customized=True).description or {}
        except ClientError as exc:
            raise CandidateError(f"It does not say what it computes on: {exc}") from exc
        running = description.get("running", {})
        if running.get("engine") != "torch" or running.get("device") == "cpu":
            raise CandidateError(f"It computes with {running.get('engine')} on {running.get('device')}, not on a GPU.")

    @property
    def _log(self) -> Path:
        return self.workspace.logs / f"{self.key.replace('/', '-').replace(' ', '-')}.log"

    @contextmanager
    def _marserve(self, command: list[str], environment: dict[str, str], patience_s: float) -> Iterator[str]:
        """Run a command of marserve to its end; what it starts lasts until the block is left. Answers its mark."""
        script = ["bash", str(REPOSITORY / "scripts" / "marserve"), *command]
        environment |= {variable("home"): str(self.home), **visible_devices(self.device)}
        with marked(self.key) as mark, started_process(script, mark, environment, self.home, self._log) as running:
            try:
                status = running.wait(patience_s)
            except subprocess.TimeoutExpired as exc:
                what = f"marserve {command[0]} did not end in {patience_s:.0f} s"
                raise CandidateError(f"{what}; see {self._log.name}.") from exc
            if status:
                raise CandidateError(f"marserve {command[0]} failed: {_last_lines(self._log)}")
            yield mark

    def _targets(self, ports: Ports) -> dict[str, Target]:
        token = read_keys(self._run_directory(ports).key_file).tokens["inference"].key
        authorization = {"Authorization": f"Bearer {token}"}
        return {
            "TorchServe": Target(ports.inference_port, f"/predictions/{MODEL}", BodyFormat(), authorization),
            "web": Target(ports.web_port, "/predict?top_k=5", BodyFormat("multipart", "file"), takes_deadlines=True),
        }

    def _run_directory(self, ports: Ports) -> RunDirectory:
        return RunDirectory(ports.web_port, self.home / ".run")


def _last_lines(log: Path) -> str:
    """The reason and what was concluded from it."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " / ".join(line.strip() for line in lines[-3:]) or "it said nothing"
