"""A stack that a crowd keeps busy: something is done to it, and what becomes of that is measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from marserve.archive.build import build
from marserve.archive.package import BuildOptions
from marserve.errors import MarserveError
from marserve.paths import RUN
from marserve.system.loopback import request
from marserve.system.waiting import wait_until
from marserve.terminal import say
from marserve.torchserve.key_file import read_keys
from marserve.torchserve.models import MALFORMED, ModelVersion, model_path, parse_version
from marserve.variables import variable
from tests.e2e.serving import Stack, stack_on_free_ports
from tests.reliability.crowd import REPEATING, Answer, Crowd, summed_up
from tests.reliability.table import Row
from tests.support import REPOSITORY

#: The demonstration model: its labels are true ones.
MODEL = "efficientnet_lite0"
WORKERS = 2
#: Seconds without anything bad after which all is well again.
CALM_S = 3.0
#: Seconds for a supervisor to be gone when its stack is.
SUPERVISOR_S = 30.0
#: Seconds for a question of this observer's own.
QUESTION_S = 2.0
#: File descriptors that may be open more than before: connections come and go.
MORE_OPEN = 40
#: Files that may lie there more than before: what is said of a restart, a lock.
MORE_FILES = 5


@dataclass
class UnderLoad:
    """``stack`` with ``crowd`` at work, as it was before anything was done to it."""

    stack: Stack
    crowd: Crowd
    #: What its ``serve`` was given.
    arguments: tuple[str, ...] = ()
    #: How often each kind of process is there, and what each has open.
    processes: Counter[str] = field(default_factory=Counter)
    #: Supervisors that were started again.
    served: list[subprocess.Popen[bytes]] = field(default_factory=list)
    open_files: int = 0
    files: int = 0

    def note_what_is_there(self) -> None:
        self.processes = self._processes_by_kind()
        self.open_files = self._open_files()
        self.files = self._files()

    def inflict(
        self,
        name: str,
        strike: Callable[[], object],
        *,
        recovered: Callable[[], object] = lambda: True,
        within_s: float,
        lost: str = "",
        may_be_refused: bool = False,
        lasts: bool = False,
        then: Callable[[], object] = lambda: None,
    ) -> Row:
        """What ``strike`` does to callers, until everything they are answered is right again and stays so.

        ``recovered`` says whether what was struck is back, too. ``within_s`` is how long that may take, from the end of
        ``strike`` where that ``lasts``, and how long is waited. Where the web service itself was struck, callers
        ``may_be_refused`` while nobody listens. ``then`` is done in the end, whatever came out. What ``strike`` answers
        belongs to what was seen, and ``lost`` is what did not survive besides requests.
        """
        self.wait_until_calm(60)
        struck_at = time.monotonic()
        try:
            told = strike()
            counts_from = time.monotonic() if lasts else struck_at
            healthy_after_s = self._seconds_until_healthy(struck_at, counts_from, recovered, within_s)
        finally:
            then()
        answers = self.crowd.since(struck_at)
        complaints = [self._complaint(answers, may_be_refused=may_be_refused)]
        if healthy_after_s is None:
            complaints.append(f"not healthy within {within_s:.0f} s: {self._ailment(recovered)}")
        else:
            complaints.append(self._leaks())
        said = "; ".join(complaint for complaint in complaints if complaint)
        seen = summed_up(answers) + (f"; {told}" if told else "") + (f". **{said}**" if said else "")
        refused = sum(answer.outcome in ("overload", "gone") for answer in answers)
        again = [f"{refused} of {len(answers)} requests had to be sent again"] if refused else []
        return Row(name, seen, healthy_after_s, ", ".join([*again, *filter(None, [lost])]) or "nothing", holds=not said)

    def serve_again(self) -> None:
        """As systemd does, which gives it a session of its own and is there until it ends."""
        again = subprocess.Popen(
            [str(REPOSITORY / "scripts" / "serve"), *self.arguments],
            env=self.stack.environment,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.served.append(again)

    def wait_until_calm(self, within_s: float) -> None:
        """Return when nothing bad has been seen for a while."""
        now = time.monotonic()
        healthy = self._seconds_until_healthy(now, now, lambda: True, within_s)
        assert healthy is not None, (
            f"it was not well before: {self._ailment(lambda: True)}\n{self.stack.logs()[-3000:]}"
        )

    def described(self) -> ModelVersion | None:
        """The default version as TorchServe lists it now; None where it does not say in time."""
        ports, run_directory = self.stack.ports, self.stack.run_directory
        try:
            token = read_keys(run_directory.key_file).tokens["management"].key
            reply = request("GET", ports.management_port, model_path(MODEL), token=token, timeout_s=QUESTION_S)
            return None if reply is None else parse_version(json.loads(reply.body)[0])
        except (MarserveError, *MALFORMED):
            return None

    def worker_pids(self) -> list[int]:
        described = self.described()
        assert described is not None
        return sorted(described.ready_pids)

    def is_ready(self) -> bool:
        """Whether the web service says so."""
        reply = request("GET", self.stack.ports.web_port, "/readyz", timeout_s=QUESTION_S)
        return reply is not None and reply.status == 200

    def status(self) -> Any:
        """What ``marserve status`` has."""
        run = self.stack.run("marserve", "status", "--json", "--interval", "0.1")
        return json.loads(run.stdout or "null")

    def _is_complete(self) -> bool:
        described = self.described()
        return described is not None and described.ready_workers >= WORKERS and self.is_ready()

    def _seconds_until_healthy(
        self, struck_at: float, counts_from: float, recovered: Callable[[], object], within_s: float
    ) -> float | None:
        whole_since: float | None = None
        while True:
            now = time.monotonic()
            is_whole = bool(recovered()) and self._is_complete()
            whole_since = (whole_since or now) if is_whole else None
            answers = self.crowd.since(struck_at)
            bad = max((answer.ended_at for answer in answers if answer.outcome != "right"), default=struck_at)
            good = [
                answer.ended_at
                for answer in answers
                if answer.outcome == "right" and not answer.from_cache and answer.sent_at >= bad
            ]
            if whole_since and good and time.monotonic() - max(bad, whole_since) >= CALM_S:
                return max(min(good), whole_since, counts_from) - counts_from
            if now - counts_from > within_s + CALM_S:
                return None
            time.sleep(0.05)

    def _complaint(self, answers: list[Answer], *, may_be_refused: bool) -> str:
        counts = Counter(answer.outcome for answer in answers)
        if may_be_refused:
            counts.pop("gone", None)
        found = [f"{counts[outcome]} {outcome}" for outcome in ("wrong", "hung", "odd", "gone") if counts[outcome]]
        return ", ".join(found)

    def _ailment(self, recovered: Callable[[], object]) -> str:
        described = self.described()
        ready = "none says" if described is None else described.ready_workers
        return f"readyz {self.is_ready()}, ready workers: {ready}, recovered: {bool(recovered())}"

    def _leaks(self) -> str:
        """What is there more, or less, than before."""
        seconds = 10.0
        wait_until(lambda: self._processes_by_kind() == self.processes, seconds)
        found = []
        if (now := self._processes_by_kind()) != self.processes:
            more, less = now - self.processes, self.processes - now
            found.append(f"processes more: {dict(more)}, less: {dict(less)}")
        if not wait_until(lambda: self._open_files() <= self.open_files + MORE_OPEN, seconds):
            found.append(f"{self._open_files() - self.open_files} more file descriptors are open")
        if not wait_until(lambda: self._files() <= self.files + MORE_FILES, seconds):
            found.append(f"{self._files() - self.files} files are left")
        return "; ".join(found)

    def _mine(self) -> Iterator[psutil.Process]:
        """Everything that was ever started for this stack and lives: its environment names the port."""
        mark = variable("web_port"), str(self.stack.ports.web_port)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(mark[0]) == mark[1] and process.status() != psutil.STATUS_ZOMBIE:
                    yield process

    def _processes_by_kind(self) -> Counter[str]:
        kinds: Counter[str] = Counter()
        for process in self._mine():
            with contextlib.suppress(psutil.Error):
                kinds[kind_of(process.cmdline())] += 1
        return kinds

    def _open_files(self) -> int:
        """File descriptors of all services."""
        count = 0
        for process in self._mine():
            with contextlib.suppress(psutil.Error):
                count += process.num_fds()
        return count

    def _files(self) -> int:
        """Files in the run directory beside its logs: what is unpacked, sockets, locks."""
        logs = str(self.stack.run_directory.logs)
        walked = os.walk(self.stack.run_directory.path)  # which minds nothing that vanishes meanwhile
        return sum(len(files) for folder, _, files in walked if not folder.startswith(logs))


def kind_of(command: list[str]) -> str:
    """What a process of a stack is, by its command line."""
    line = " ".join(command)
    for mark, kind in (
        ("ModelServer", "Java"),
        ("model_service_worker", "worker"),
        ("marserve.web", "web service"),
        ("marserve.autoscale", "autoscaler"),
        (" serve", "supervisor"),
    ):
        if mark in line:
            return kind
    return line[:80]


def archive() -> Path:
    """The demonstration model, built once; not where others build the same model in another precision."""
    say("  building the archive, unless it is up to date ...")
    ours = RUN / "reliability"
    ours.mkdir(parents=True, exist_ok=True)
    return build(BuildOptions(architecture=MODEL, model_name=MODEL, precision="f32", output=ours), report=say).path


@contextmanager
def under_load(
    *arguments: str,
    stack: Stack | None = None,
    repeating: int = REPEATING,
    variables: Mapping[str, str] | None = None,
) -> Iterator[UnderLoad]:
    """A stack of one model with a crowd; ``arguments`` and ``variables`` are its start's."""
    # There is to be an autoscaler; it has nothing to choose.
    given = ("--archive", str(archive()), "--autoscale", f"{WORKERS}..{WORKERS}", *arguments)
    stack = stack or stack_on_free_ports()
    stack.environment.update(variables or {})
    served: list[subprocess.Popen[bytes]] = []
    try:
        say("  starting the stack ...")
        stack.started(*given)
        crowd = Crowd(stack.web, repeating)
        with crowd.at_work():
            tested = UnderLoad(stack, crowd, given, served=served)
            tested.wait_until_calm(60)
            tested.note_what_is_there()
            yield tested
    finally:
        stack.end()
        for supervisor in served:
            supervisor.wait(SUPERVISOR_S)
