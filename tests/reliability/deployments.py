"""``kill -9`` of every process at random moments of deployments and rollbacks: what does the next start serve?

Each must serve one of the two versions, whole, and say which. Which one answers is read from the labels, which are
others in each version.

It takes some 20 seconds a moment, measured on two busy cores: a quarter of an hour or more for the 50 of each row.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import requests

from marserve.client.management import ManagementClient
from marserve.stack.deployments import Deployments
from marserve.stack.model_store import DeploymentStore
from marserve.terminal import say
from tests.e2e.operating import edited
from tests.e2e.serving import ANSWER_S, Stack, stack_on_free_ports, wait_for
from tests.reliability.table import MOST_TOLD, Row
from tests.reliability.under_load import MODEL, archive
from tests.reliability.versions import Caller, kill, kill_everything, marked, version_of
from tests.support import CAT, REPOSITORY

#: Seconds that moments are chosen among at first, and how these change with each command that had ended before its
#: moment, or had not: three in four are to be in the middle of it.
LASTS_S = {"deploy": 7.0, "rollback": 3.2}
SHORTER, LONGER = 0.85, 1.055
#: Seconds in which whoever stays with a stack is to have settled what a killed command left: it looks every few
#: seconds, and waits until a version that goes is idle.
SETTLED_S = 60.0


@dataclass(frozen=True)
class Attempt:
    """A deployment or a rollback that is killed."""

    pid: int
    command: str
    #: Seconds after it began.
    after_s: float
    had_ended: bool
    before: str
    wanted: str


@dataclass(frozen=True)
class Moment(Attempt):
    """What came of it."""

    served: str
    #: Whether it was said, or stood on record, that something had been interrupted.
    told: bool
    ready_s: float
    #: What is not as it should be; empty where the moment holds.
    faults: Sequence[str]
    #: What the caller saw since the moment before, and the longest of it in seconds.
    callers: Mapping[str, int]
    longest_s: float


@dataclass
class Tried:
    """A stack that is killed again and again."""

    stack: Stack
    caller: Caller
    directory: Path
    chance: random.Random
    #: The archive of each version.
    archives: dict[str, Path]
    arguments: Sequence[str]
    latest: int = 1
    lasts_s: dict[str, float] = field(default_factory=lambda: dict(LASTS_S))

    @property
    def record(self) -> Deployments:
        found = DeploymentStore(self.stack.run_directory).read()
        assert found is not None
        return found

    @contextmanager
    def interrupted(self) -> Iterator[Attempt]:
        """A deployment or a rollback at a random moment, to be killed in the block."""
        model = self.record.models[MODEL]
        before = model.current.version
        # A rollback needs something to go back to; else every second is one.
        if model.before is not None and self.chance.random() < 0.5:
            command, wanted = "rollback", model.before.version
            given: list[str] = ["rollback", MODEL]
        else:
            self.latest += 1
            command, wanted = "deploy", f"{self.latest}.0"
            self.archives[wanted] = edited(self.archives["1.0"], self.directory, wanted, marked(wanted))
            given = ["deploy", MODEL, "--archive", str(self.archives[wanted]), "--no-compare", "--force"]
        after_s = self.chance.uniform(0.0, self.lasts_s[command])
        self.caller.allowed = frozenset((before, wanted))
        began = [str(REPOSITORY / "scripts" / "marserve"), *given, "--yes"]
        with subprocess.Popen(
            began, env=self.stack.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(after_s)
            had_ended = process.poll() is not None
            self.lasts_s[command] *= SHORTER if had_ended else LONGER
            yield Attempt(process.pid, command, after_s, had_ended, before, wanted)

    def kill_everything(self) -> Moment:
        """At a moment of a deployment or a rollback, and start again."""
        with self.interrupted() as attempt:
            kill_everything(self.stack, attempt.pid)
        at = time.monotonic()
        started = self.stack.run("serve", "--detach", *self.arguments)
        return self._judged(attempt, time.monotonic() - at, started)

    def kill_command(self) -> Moment:
        """The command alone, at a moment of it, while the stack lives on; whoever stays with that settles it."""
        with self.interrupted() as attempt:
            kill([psutil.Process(attempt.pid)] if psutil.pid_exists(attempt.pid) else [])
        at = time.monotonic()
        was_pending = self.record.pending is not None
        wait_for(lambda: self.record.pending is None, SETTLED_S)
        settled_s = time.monotonic() - at
        wait_for(lambda: version_of(self._through_web()) == self.record.models[MODEL].current.version)
        return self._judged(attempt, settled_s, was_pending=was_pending)

    def _judged(
        self,
        attempt: Attempt,
        ready_s: float,
        started: subprocess.CompletedProcess[str] | None = None,
        *,
        was_pending: bool = False,
    ) -> Moment:
        if started is not None and started.returncode:
            fault = f"it did not start: {started.stderr.strip()[-300:]}"
            return self._moment(attempt, served="nothing", told=False, ready_s=ready_s, faults=[fault])
        record = self.record
        store = DeploymentStore(self.stack.run_directory)
        model = record.models[MODEL]
        served = version_of(self.stack.predict(MODEL).json()["predictions"][0]["label"])
        through_web = version_of(self._through_web())
        damaged = [one.version for one in model.versions if store.damage(one) is not None]
        there = {file.name for file in store.path.iterdir()} - {"deployments.json"}
        with ManagementClient(self.stack.management, key_file=self.stack.run_directory.key_file) as management:
            registered = {listed.version for listed in management.describe_all(MODEL)}
        faults = {
            "it served a third version": served not in (attempt.before, attempt.wanted),
            "its record names another": model.current.version != served,
            f"the web service answered with {through_web}": through_web != served,
            "something was left half done": record.pending is not None,
            "archives are there that nobody needs": there != {version.archive for version in model.versions},
            f"{sorted(registered)} are registered": registered != {version.version for version in model.versions},
            f"damaged: {damaged}": bool(damaged),
        }
        told = was_pending
        if started is not None:
            told = "was interrupted" in started.stdout
            faults["it said another"] = f"Starting TorchServe for {MODEL} {served}:" not in started.stdout
            faults[f"it complained: {started.stderr.strip()[-300:]}"] = "!" in started.stderr
        self.caller.allowed = frozenset((served,))
        found = [fault for fault, is_one in faults.items() if is_one]
        return self._moment(attempt, served=served, told=told, ready_s=ready_s, faults=found)

    def _moment(self, attempt: Attempt, **came: Any) -> Moment:
        callers, longest_s = self.caller.seen()
        return Moment(**asdict(attempt), **came, callers=callers, longest_s=longest_s)

    def _through_web(self) -> str:
        reply = requests.post(f"{self.stack.web}/predict", files={"file": CAT.read_bytes()}, timeout=ANSWER_S)
        assert reply.status_code == requests.codes.ok, reply.text
        return str(reply.json()[0]["label"])


@contextmanager
def tried(seed: int) -> Iterator[Tried]:
    """A stack that takes archives, with a caller; version 1.0 has labels of its own."""
    stack = stack_on_free_ports()
    with tempfile.TemporaryDirectory() as temp:
        first = edited(archive(), Path(temp), "1.0", marked("1.0"))
        base = first.rename(Path(temp, "first.mar"))
        arguments = ("--archive", str(base), "--workers", "1", "--model-api")
        try:
            stack.started(*arguments)
            caller = Caller(stack.web)
            caller.allowed = frozenset(("1.0",))
            with caller.at_work():
                yield Tried(stack, caller, Path(temp), random.Random(seed), {"1.0": base}, arguments)  # noqa: S311
        finally:
            stack.end()


def killed(options: argparse.Namespace) -> Row:
    return _row(options, "killed", "of all processes", "`serve` again", Tried.kill_everything)


def command_killed(options: argparse.Namespace) -> Row:
    what_then = "the stack, which lives on, settles it by itself"
    return _row(options, "command-killed", "of the command alone", what_then, Tried.kill_command)


def _row(options: argparse.Namespace, key: str, whom: str, what_then: str, kill_once: Callable[[Tried], Moment]) -> Row:
    moments = _earlier(options.add_to, key)
    broke = ""
    try:
        with tried(options.seed + len(moments)) if options.moments else nullcontext() as stage:
            for _ in range(options.moments):
                assert stage is not None
                moments.append(kill_once(stage))
                say(f"  {moments[-1]}")
                if options.add_to is not None:
                    with options.add_to.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"row": key, **asdict(moments[-1])}) + "\n")
    except Exception as exc:
        if not moments:
            raise
        # Whatever it is, the moments before it count.
        broke = f"it ended after {len(moments)} moments: {exc!r}"
    row = summary(moments, whom, what_then)
    return replace(row, lost=f"{row.lost}. **{broke[:MOST_TOLD]}**", holds=False) if broke else row


def _earlier(file: Path | None, key: str) -> list[Moment]:
    """The moments of one row in ``file``, whose lines may be those of both."""
    if file is None or not file.exists():
        return []
    entries = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Moment(**entry) for entry in entries if entry.pop("row", key) == key]


def summary(moments: Sequence[Moment], whom: str = "", what_then: str = "") -> Row:
    """The row for all ``moments``."""
    new = sum(moment.served == moment.wanted for moment in moments)
    before = sum(moment.served == moment.before for moment in moments)
    commands = Counter(moment.command for moment in moments)
    ended = sum(moment.had_ended for moment in moments)
    told = sum(moment.told for moment in moments)
    callers: Counter[str] = Counter()
    for moment in moments:
        callers.update(moment.callers)
    wrong = [outcome for outcome in callers if outcome.startswith("wrong")]
    faults = [fault for moment in moments for fault in moment.faults]
    ready = [moment.ready_s for moment in moments]
    seen = ", ".join(f"{count} {outcome}" for outcome, count in callers.most_common())
    return Row(
        f"`kill -9` {whom} at {len(moments)} random moments of {commands['deploy']} deployments and "
        f"{commands['rollback']} rollbacks, {ended} of them after the command had ended, and {what_then}: "
        f"{before} times the version before, {new} times the new one, as was said; {told} times a change "
        "was found interrupted",
        f"{seen}; the longest {max(moment.longest_s for moment in moments):.1f} s",
        statistics.median(ready),
        "; ".join(faults) or "nothing",
        holds=not faults and not wrong,
    )


@contextmanager
def stage(options: argparse.Namespace) -> Iterator[argparse.Namespace]:
    yield options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--moments", type=int, default=50, metavar="N", help="so many kills (default: 50); 0: what FILE has"
    )
    parser.add_argument("--seed", type=int, default=14, metavar="N", help="of the moments (default: 14)")
    parser.add_argument(
        "--add-to", type=Path, metavar="FILE", help="count the moments in FILE as well, and add those of this run"
    )


ROWS: Mapping[str, Callable[[argparse.Namespace], Row]] = {"killed": killed, "command-killed": command_killed}
