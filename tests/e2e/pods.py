"""A pod without containers: each role in a process namespace of its own, with a root that nothing can be written to and
the packages of its extra alone; they share the network and one directory.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import psutil
import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from marserve.setup.java import find_java
from marserve.stack.run_directory import RunDirectory, remove_tree
from tests.e2e.serving import ANSWER_S, START_S, Stack, stack_on_free_ports, wait_for
from tests.support import REPOSITORY

#: Starts a command as the first process of a namespace; all of it ends with the process that it is called in.
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--mount")
#: Of the directory and the command: nothing else can be written to.
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'
TORCHSERVE, WEB = "torchserve", "web"
#: Seconds that SIGTERM leaves, as Kubernetes has them.
GRACE_S = 30


def environment_of(role: str, directory: Path) -> Path:
    """The Python of an environment in ``directory`` with marserve and what its extra ``role`` needs, by links."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = directory / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (directory / "bin").mkdir()
    python = directory / "bin" / "python"
    python.symlink_to(Path(sys._base_executable))  # type: ignore[attr-defined]
    home = Path(sys._base_executable).parent  # type: ignore[attr-defined]
    (directory / "pyvenv.cfg").write_text(f"home = {home}\nversion = {sys.version.split()[0]}\n")
    for name in _needed("marserve", {role}, set()) - {"marserve"}:
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(distribution.locate_file(top))))
    # A copy: in a clone, commands use the clone's environment.
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "src" / "marserve", packages / "marserve", ignore=ignored)
    own = next(
        path for path in Path(str(metadata.distribution("marserve").locate_file(""))).glob("marserve-*.dist-info")
    )
    (packages / own.name).symlink_to(own)
    return python


def _needed(name: str, extras: set[str], found: set[str]) -> set[str]:
    try:
        requirements = metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # for another platform
        return found
    found.add(canonicalize_name(name))
    for requirement in map(Requirement, requirements):
        wanted = requirement.marker is None or any(requirement.marker.evaluate({"extra": one}) for one in {"", *extras})
        known = canonicalize_name(requirement.name)
        if wanted and (known not in found or (known == "marserve" and not requirement.extras <= extras)):
            _needed(requirement.name, {*requirement.extras, *(extras if known == "marserve" else ())}, found)
    return found


@dataclass
class Pod:
    """Two roles that share ``home``; a role that has ended can be started again, as a kubelet does it."""

    home: Path
    pythons: Mapping[str, Path]
    archives: Path
    stack: Stack = field(default_factory=stack_on_free_ports)
    #: What further variables a role gets.
    variables: dict[str, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def run_directory(self) -> RunDirectory:
        return RunDirectory(self.stack.ports.web_port, self.home / ".run")

    def log(self, role: str) -> Path:
        return self.home / f"{role}.log"

    def start(self, role: str, *arguments: str) -> None:
        own = {TORCHSERVE: ["--archive", str(self.archives), "--workers", "1"], WEB: ["--host", "127.0.0.1"]}
        command = [*(str(self.pythons[role]), "-m", "marserve", "serve", "--only", role), *own[role], *arguments]
        names = [name for name in self.stack.environment if name.startswith("MARSERVE_")]
        environment = (
            {name: self.stack.environment[name] for name in names}
            | self.variables
            | {
                "MARSERVE_HOME": str(self.home),
                "MARSERVE_GRACE_S": str(GRACE_S),
                "PATH": f"{find_java(report=lambda _: None).parent}:/usr/bin:/bin",
            }
        )
        with self.log(role).open("ab") as log:
            self.running[role] = subprocess.Popen(
                [*NAMESPACE, "sh", "-c", READ_ONLY, str(self.home), *command],
                cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def process(self, role: str) -> psutil.Process:
        """The first process of the role's namespace."""
        return psutil.Process(self.running[role].pid).children()[0]

    def below(self, role: str, part: str) -> psutil.Process:
        """The process of the role whose command line holds ``part``."""
        for process in self.process(role).children(recursive=True):
            with suppress(psutil.Error):  # it has ended
                if any(part in word for word in process.cmdline()):
                    return process
        raise LookupError(part)

    def worker(self) -> psutil.Process:
        return self.below(TORCHSERVE, "model_service_worker.py")

    def java(self) -> psutil.Process:
        return self.below(TORCHSERVE, "org.pytorch.serve.ModelServer")

    def kill(self, role: str) -> None:
        """As a container ends that the kernel ends: with all that is in it."""
        self.running[role].kill()
        self.running.pop(role).wait()

    def get(self, path: str) -> requests.Response | None:
        try:
            return requests.get(f"{self.stack.web}{path}", timeout=ANSWER_S)
        except requests.ConnectionError:
            return None

    def is_ready(self) -> bool:
        reply = self.get("/readyz")
        return reply is not None and reply.status_code == requests.codes.ok

    def probe(self, question: str) -> int:
        """The exit status of a probe."""
        command = [str(self.pythons[TORCHSERVE]), "-I", "-m", "marserve.probe", question]
        ours = {"MARSERVE_HOME": str(self.home), "MARSERVE_WEB_PORT": str(self.stack.ports.web_port)}
        return subprocess.run(command, env=ours, check=False, stdout=subprocess.DEVNULL).returncode

    def as_started(self) -> Pod:
        """With both roles, and ready."""
        for role in (WEB, TORCHSERVE):
            if role not in self.running or self.running[role].poll() is not None:
                self.start(role)
        wait_for(self.is_ready, START_S)
        return self

    def end(self) -> dict[str, int]:
        """SIGTERM to both at once; the exit statuses."""
        for role in list(self.running):
            self.process(role).terminate()
        return {role: self.running.pop(role).wait(GRACE_S) for role in list(self.running)}

    def remove(self) -> None:
        for role in list(self.running):
            self.kill(role)
        for log in (WEB, TORCHSERVE):
            print(f"--- {log}\n{self.log(log).read_text(errors='replace') if self.log(log).exists() else ''}")
        if (store := self.run_directory.model_store).exists():
            store.chmod(0o700)
        remove_tree(self.run_directory.workflow_store)
        shutil.rmtree(self.home)
