"""TorchServe's Java process: its settings, its environment and its command line.

It is started directly: the ``torchserve`` command is a Python process that leaves Java behind when it is stopped.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path

from marserve.archive.contents import ArchiveError, read_text
from marserve.errors import MarserveError
from marserve.handler.resnet18.cpu import THREADS_VARIABLE
from marserve.handler.resnet18.gpu import GPUS_VARIABLE
from marserve.paths import CONFIG
from marserve.stack.archives import whole_deployments
from marserve.stack.configuration import load_settings
from marserve.stack.deployments import Deployments, defaults
from marserve.stack.model_store import DeploymentStore, LostRecordError
from marserve.stack.options import Concurrency, Options
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, remove_tree
from marserve.stack.services import Check, Service
from marserve.stack.torchserve_answers import TorchServeAnswers, using_temp
from marserve.system.files import replace_text
from marserve.system.loopback import LOOPBACK
from marserve.system.machine import visible_gpus
from marserve.system.processes import kill_processes
from marserve.terminal import Progress, complain
from marserve.torchserve import failures, properties
from marserve.torchserve.log_lines import Follower
from marserve.torchserve.models import ModelVersion

LOG4J_CONFIG = "-Dlog4j.configurationFile="
#: In an archive whose handler chooses its GPU.
GPU_CODE = "resnet18/gpu.py"


def chooses_gpu(archive: Path) -> bool:
    """Whether the handler in ``archive`` chooses its GPU itself; older ones take what TorchServe assigns."""
    try:
        read_text(archive, GPU_CODE)
    except ArchiveError:
        return False
    return True


class TorchServe(Service):
    """The model server. It is ready when each model has classified a picture: its own ping is 200 long before that."""

    name = "TorchServe"
    label = "torchserve"
    #: What Java prints by itself, before its own logs begin.
    log_name = failures.CONSOLE_LOG
    #: TorchServe itself gives a worker two minutes to start.
    deadline_s = 150.0

    def __init__(
        self,
        java: Path,
        ports: Ports,
        run_directory: RunDirectory,
        temp: Path,
        options: Options,
        concurrency: Concurrency,
        configured: Mapping[str, str | int],
    ) -> None:
        """``configured``: see ``read_configuration``. What it serves, the record of the store says at each start."""
        super().__init__(run_directory)
        self._java = java
        self._ports = ports
        self._temp = temp
        self._options = options
        self._store = DeploymentStore(run_directory)
        self._served: Deployments | None = None
        #: The record as it was when it was last read, should it be lost.
        self._known: Deployments | None = None
        self._waiting: list[str] = []
        #: Counted once: with a driver that hangs it takes long, and the supervisor starts Java again from its loop.
        self._gpus = visible_gpus()
        self._answers = TorchServeAnswers(ports, run_directory.key_file, temp)
        self._log_since = Follower(run_directory.logs)
        self._threads = str(concurrency.threads)
        #: What its configuration says: ``configured`` and what belongs to this stack.
        self.settings: dict[str, str | int] = {
            **configured,
            "inference_address": f"http://{LOOPBACK}:{ports.inference_port}",
            "management_address": f"http://{LOOPBACK}:{ports.management_port}",
            "metrics_address": f"http://{LOOPBACK}:{ports.metrics_port}",
            "grpc_inference_port": ports.grpc_inference_port,
            "grpc_management_port": ports.grpc_management_port,
            "model_store": str(run_directory.model_store),
            "workflow_store": str(run_directory.workflow_store),
            "metrics_config": str(CONFIG / "metrics.yaml"),
            "default_workers_per_model": concurrency.at_start or concurrency.workers,
            "number_of_netty_threads": concurrency.frontend_threads,
            "netty_client_threads": concurrency.frontend_threads,
            "enable_model_api": "true" if options.model_api else "false",
        }
        self._progress = Progress("Loading the models")

    def command(self) -> Sequence[str]:
        """What TorchServe's own launcher would run, with absolute paths."""
        home = distribution("torchserve").locate_file("")  # not always where this environment's own packages are
        vm_arguments = str(self.settings["vmargs"]).split()
        return [
            str(self._java),
            *(argument for argument in vm_arguments if not argument.startswith(LOG4J_CONFIG)),
            f"{LOG4J_CONFIG}{CONFIG / 'log4j2.xml'}",
            # In a container they are shown, and lie in its memory.
            *([] if self._options.only is None else ["-Dlog.size=1 MB"]),
            # Everything is in the logs; nobody reads this process's output.
            "-Dconsole.level=off",
            f"-Dmodel_server_home={home}",
            f"-Djava.io.tmpdir={self._temp}",
            "-cp", f"{home}/ts/frontend/*",
            "org.pytorch.serve.ModelServer",
            "--python", sys.executable,
            "-f", str(self._run_directory.config),
            "-s", str(self._run_directory.model_store),
            "-w", str(self._run_directory.workflow_store),
            "-ncs",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        # For libraries that would otherwise start a thread a core in every worker, such as numpy's.
        # Neither Java nor a worker needs a secret: what reads pictures of strangers has none to lose.
        environment = {"OMP_NUM_THREADS": self._threads} | super().environment()
        # These would take precedence over the command line.
        for name in ("TS_CONFIG_FILE", "TS_MODEL_SERVER_HOME"):
            environment.pop(name, None)
        logs = str(self._run_directory.logs)
        own = {"TEMP": str(self._temp), "TMPDIR": str(self._temp), "LOG_LOCATION": logs, "METRICS_LOCATION": logs}
        # By the locale Java reads the names of files: in C's it finds none that is not ASCII.
        sent = {THREADS_VARIABLE: self._threads, GPUS_VARIABLE: str(self._gpus)}
        return environment | own | sent | {"LC_ALL": "C.UTF-8"}

    def start(self) -> subprocess.Popen[bytes]:
        """Serve what is deployed by now. Raises MarserveError where nobody knows what, or no archive of it is left."""
        self._served = self._known = self._deployments()
        self._waiting = list(self._served.models)
        self.settings |= load_settings(self._served, scaled=self._options.autoscale is None)
        self._share_gpus(self._served)
        replace_text(self._run_directory.config, properties.render(self.settings))
        self._log_since = Follower(self._run_directory.logs)
        return super().start()

    def _share_gpus(self, served: Deployments) -> None:
        """Have the workers choose among the GPUs, without TorchServe, where each archive's handler knows how.

        Other archives' workers get from TorchServe what it finds, at the price that ``handler/resnet18/gpu.py`` names.
        """
        archives = [self._store.path / one.archive for model in served.models.values() for one in model.versions]
        self.settings.pop("number_of_gpu", None)
        if self._gpus and all(map(chooses_gpu, archives)):
            self.settings["number_of_gpu"] = 0

    def _deployments(self) -> Deployments:
        try:
            return whole_deployments(self._store)
        except LostRecordError as exc:
            if self._known is None:
                raise
            complain(f"! {exc}\n! Serving what was deployed when it was last read.")
            self._store.write(self._known)
            return whole_deployments(self._store)

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        with self._progress:
            super().wait_until_ready(process)

    def is_ready(self) -> bool:
        self._progress.update(", ".join(self._waiting))
        logs = self._run_directory.logs
        models = {} if self._served is None else self._served.models
        kept = [(name, model.before) for name, model in models.items() if model.before is not None]
        beside = [ModelVersion(name, before.version, before.archive, ()) for name, before in kept]
        if failures.start_has_failed(logs, self._log_since, beside=beside):
            time.sleep(0.5)  # for the rest of the message to be written
            raise self.failure("a worker could not start", failures.worker_reason(logs, self._log_since))
        if self._all_answer():
            self._check_that_nothing_was_deployed_meanwhile()
        return not self._waiting

    def is_back(self) -> bool:
        """A worker that fails is no failure here: TorchServe tries it again, and what hinders it may pass."""
        with contextlib.suppress(MarserveError):
            self._all_answer()
        if not self._waiting:
            self._check_that_nothing_was_deployed_meanwhile()
        return not self._waiting

    def checks(self) -> Sequence[Check]:
        return (
            Check("its management API did not answer", self._answers.is_managed, interval_s=2.0, limit_s=10.0),
            Check(
                "no prediction came though workers were READY and computed nothing",
                lambda: self._answers.predicts(self._models),
                interval_s=10.0,
                limit_s=20.0,
            ),
        )

    def clear(self) -> None:
        """Workers whose server is gone, their sockets, unpacked archives, and tokens that nobody takes any more."""
        kill_processes(using_temp(str(self._temp)))
        self._run_directory.key_file.unlink(missing_ok=True)
        remove_tree(self._temp)
        self._temp.mkdir(mode=0o700)

    def _models(self) -> list[str]:
        """Those that are deployed now."""
        self._known = self._store.read() or self._known
        return [] if self._known is None else list(self._known.models)

    def _all_answer(self) -> bool:
        models = {} if self._served is None else self._served.models
        waiting = [(model, models[model].current.version) for model in self._waiting]
        self._waiting = [model for model, version in waiting if not self._is_answered(model, version)]
        return not self._waiting

    def _check_that_nothing_was_deployed_meanwhile(self) -> None:
        """A command that saw the last TorchServe may have finished beside this start."""
        latest = self._store.read()
        if latest is not None and self._served is not None and defaults(latest) != defaults(self._served):
            raise MarserveError(f"While {self.name} was starting, another version was deployed: it must start again.")

    def _is_answered(self, model: str, version: str) -> bool:
        described = self._answers.describe(model)
        if described is None or described.version != version:
            return False
        if not described.ready_workers:
            return described.reported.get("minWorkers") == 0  # somebody has taken all away, for good
        reply = self._answers.predict(model)
        if reply is not None and reply.status != 200:
            text = reply.body.decode(errors="replace").strip()
            raise MarserveError(f"{model} answers its first prediction with status {reply.status}: {text}")
        return reply is not None

    def reason(self) -> str:
        return failures.server_reason(self._run_directory.logs, self._log_since)

    def reason_for_delay(self) -> str:
        reason = failures.worker_reason(self._run_directory.logs, self._log_since)
        return f"No answer from {' and '.join(self._waiting)}.\n{reason}"
