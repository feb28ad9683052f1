"""``.run/<web port>/``: everything that one stack keeps on disk while it runs, and what it says of itself in there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from marserve.errors import MarserveError
from marserve.paths import RUN, command
from marserve.probe import HEARTBEAT
from marserve.stack.options import Concurrency
from marserve.stack.ports import Ports
from marserve.system.files import replace_text
from marserve.system.loopback import LOOPBACK
from marserve.system.processes import ProcessRecord
from marserve.variables import variable

#: A Unix socket's path is at most 103 bytes long on macOS and 107 on Linux; TorchServe's are ``TEMP/.ts.sock.9000``,
#: with a number that grows with every worker started.
LONGEST_TEMP = 103 - len("/.ts.sock.999999")


class RunDirectory:
    """The places inside; nothing is created before ``prepare``."""

    def __init__(self, web_port: int, parent: Path = RUN) -> None:
        self.path = parent / str(web_port)
        self.lock = self.path / "lock"
        #: Held by whoever changes models or workers of the running stack.
        self.change_lock = self.path / "change.lock"
        self.state = self.path / "state.json"
        #: What the supervisor has restarted.
        self.supervision = self.path / "supervision.json"
        self.logs = self.path / "logs"
        self.previous_logs = self.path / "logs.previous"
        self.config = self.path / "config.properties"
        #: Lasts: what is deployed, ``DeploymentStore``.
        self.model_store = self.path / "model_store"
        self.workflow_store = self.path / "workflow_store"
        #: Which version is on trial, while ``deploy`` tries one on live traffic.
        self.rollout = self.path / "rollout.json"
        #: Pictures under which workers ended; it outlives the stack.
        self.quarantine = self.path / "quarantine.json"
        #: The certificate that the web service shows, where it speaks TLS: from here no other one is trusted.
        self.certificate = self.path / "certificate.pem"
        #: Locked by a web service in a container of its own, as long as it lives: what it had is to be answered.
        self.web_lock = self.path / "web.lock"
        #: Locked by a supervisor in a container of its own, and written by it: ``marserve.probe``.
        self.heartbeat = self.path / HEARTBEAT
        #: TorchServe writes it into its working directory, readable by its user alone.
        self.key_file = self.path / "key_file.json"

    def certificate_of(self, state: State) -> Path | None:
        """Of the web service of ``state``; None where it speaks HTTP."""
        return self.certificate if variable("tls_certificate") in state.choices else None

    def prepare(self) -> Path:
        """Make the directories of a new start, keep the last start's logs, and answer a private directory for TEMP."""
        self.path.mkdir(parents=True, exist_ok=True)
        # Tokens and logs are nobody else's business.
        self.path.chmod(0o700)
        shutil.rmtree(self.previous_logs, ignore_errors=True)
        if self.logs.exists():
            self.logs.rename(self.previous_logs)
        self.logs.mkdir()
        remove_tree(self.workflow_store)
        self.workflow_store.mkdir(mode=0o500)
        temp = self.path / "tmp"
        if len(os.fsencode(temp)) > LONGEST_TEMP:
            return _short_temp()
        remove_tree(temp)
        temp.mkdir(mode=0o700)
        return temp

    def clear(self, temp: Path) -> None:
        """Remove what only a running stack needs; what is deployed stays, and the logs, to be read after it ended."""
        for file in (self.key_file, self.config, self.supervision, self.state, self.certificate):
            file.unlink(missing_ok=True)
        for directory in (self.workflow_store, temp):
            if directory.is_absolute():  # a state without one must not mean the directory that this runs in
                remove_tree(directory)
        if self.model_store.exists():
            self.model_store.chmod(0o700)  # so that whoever wants to delete the whole directory can


def _short_temp() -> Path:
    """A new private directory whose path leaves room for TorchServe's sockets. Raises MarserveError."""
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - the name is chosen by mkdtemp
        if len(os.fsencode(parent)) + len("/classifier-12345678") <= LONGEST_TEMP and os.access(parent, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="classifier-", dir=parent))
    raise MarserveError(
        f"Sockets need a path of at most {LONGEST_TEMP} bytes, and {RUN} is longer: name a short, writable folder in "
        "the variable TMPDIR."
    )


class NotRunningError(MarserveError):
    """No stack runs on a web port."""

    def __init__(self, web_port: int) -> None:
        super().__init__(
            f"Nothing is running on web port {web_port}: start it with {command('serve')}, or name another stack with "
            "--port."
        )


class RestartingError(MarserveError):
    """A stack runs, and its supervisor is starting some of it again."""

    def __init__(self, web_port: int, names: Sequence[str]) -> None:
        super().__init__(
            f"{' and '.join(names) or 'The stack'} on web port {web_port} is being started: try again in some seconds; "
            f"{command('status')} says more."
        )


def check_started(web_port: int) -> None:
    """Raise NotRunningError where ``web_port`` has no stack, as far as the standard library can tell."""
    if not RunDirectory(web_port).state.exists():
        raise NotRunningError(web_port)


def remove_tree(directory: Path) -> None:
    """Remove ``directory`` and its content, read-only ones included, if it exists."""
    if directory.exists():
        directory.chmod(0o700)
        shutil.rmtree(directory)


@dataclass(frozen=True)
class StackModel:
    """One model of the stack; ``trained`` is false for seeded random weights."""

    name: str
    trained: bool


@dataclass(frozen=True)
class State:
    """One stack, as ``serve`` writes it down for ``stop``, ``token`` and the next ``serve``.

    ``ready`` turns true once it has answered; ``processes`` are in the order of their start.
    """

    ports: Ports
    temp: str
    #: The ``serve`` that starts it and, in the foreground, stays with it.
    serve: ProcessRecord
    models: list[StackModel] = field(default_factory=list)
    processes: list[ProcessRecord] = field(default_factory=list)
    ready: bool = False
    #: The address that the web service listens on.
    host: str = LOOPBACK
    #: The workers of each model, as it was started; None before that is known.
    concurrency: Concurrency | None = None
    #: The options and variables that it was started with.
    choices: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> State | None:
        """The state in ``file``; None where there is none, or none that this version wrote."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            parts = {
                "ports": Ports(**content["ports"]),
                "serve": ProcessRecord(**content["serve"]),
                "models": [StackModel(**model) for model in content["models"]],
                "concurrency": Concurrency(**content["concurrency"]) if content.get("concurrency") else None,
                "processes": [ProcessRecord(**process) for process in content["processes"]],
            }
            return cls(**content | parts)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, file: Path) -> None:
        """Replace ``file``; a reader sees the old state or the new one."""
        replace_text(file, json.dumps(asdict(self), indent=2))
