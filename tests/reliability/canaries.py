"""New versions under live traffic: bad ones go back by themselves, good ones become the default, callers lose nothing.

16 clients send pictures that nobody has sent before, half as many as the one worker can do, while ``deploy`` tries a
version on them. Every answer is checked by its content, against what the version that gave it says to that picture.

It takes two minutes for a row such as ``slower-by-half``, measured on two busy cores, 15 minutes at most.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from marserve.system.waiting import wait_until
from marserve.terminal import say
from marserve.web.rollout.files import LIFETIME_S
from tests.e2e.operating import Edit, edited
from tests.e2e.serving import ANSWER_S, Stack, stack_on_free_ports
from tests.reliability.bad_versions import DEADLY_IN, DIFFERS_IN, deadly, differs, good, slower_by_half
from tests.reliability.crowd import CLIENTS, PICTURES, Known, beside
from tests.reliability.table import Row
from tests.reliability.under_load import MODEL, archive
from tests.support import REPOSITORY

#: Of what the worker can do, the share that the clients send: live traffic has gaps.
LOAD = 0.5
#: Seconds for one deployment, its start, trial and end.
DEPLOYMENT_S = 900.0
#: Shares, and how long each lasts at least.
CANARY = ("--canary", "50%,100%", "--step-pictures", "50", "--step-seconds", "3")


@dataclass
class Callers:
    """``CLIENTS`` connections, which send at their own times, in a thread."""

    web: str
    #: Pictures a second, all together; 0: each sends the next when it has its answer.
    rate: float = 0.0
    #: Answers by version, and those that were wrong or none.
    versions: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    #: When each version answered last, by time.monotonic().
    answered_at: dict[str, float] = field(default_factory=dict)
    #: Whether the new version answers some pictures with another class first, as ``differs`` does.
    may_differ: bool = False

    def __post_init__(self) -> None:
        self._known = [Known.learned(f"{self.web}/classify", path.read_bytes()) for path in PICTURES]
        self._numbers = itertools.count()

    def forget(self) -> None:
        self.versions.clear()
        self.bad.clear()
        self.answered_at.clear()
        self.longest_s = 0.0

    def at_work(self) -> AbstractContextManager[None]:
        return beside(self._send_all, "callers")

    async def _send_all(self, end: asyncio.Event) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(self._keep_sending(session, client, end) for client in range(CLIENTS)))

    async def _keep_sending(self, session: aiohttp.ClientSession, client: int, end: asyncio.Event) -> None:
        interval_s = CLIENTS / self.rate if self.rate else 0.0
        due = time.monotonic() + client / CLIENTS * interval_s
        while not end.is_set():
            await asyncio.sleep(due - time.monotonic())
            due = max(due + interval_s, time.monotonic() - interval_s)
            known = self._known[(number := next(self._numbers)) % len(self._known)]
            picture = known.picture + str(number).encode()  # bytes after a JPEG's end mean nothing
            began = time.monotonic()
            try:
                async with session.post(f"{self.web}/classify", data=picture) as reply:
                    self._note(known, picture, reply, await reply.json(content_type=None))
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as exc:
                self.bad.append(repr(exc))
            self.longest_s = max(self.longest_s, time.monotonic() - began)

    def _note(self, known: Known, picture: bytes, reply: aiohttp.ClientResponse, content: Any) -> None:
        version = reply.headers.get("X-Model-Version", "none")
        self.versions[version] += 1
        self.answered_at[version] = time.monotonic()
        is_odd = self.may_differ and version != "1.0" and zlib.crc32(picture) % DIFFERS_IN == 0
        right = known if not is_odd else Known(known.picture, known.model, _swapped(known.predictions))
        if reply.status != 200 or content.get("version") != version or not right.is_answered_by(content):
            self.bad.append(f"{reply.status} of {version}: {content}")


def _swapped(predictions: Any) -> Any:
    """The first two classes in each other's place."""
    (first, one, high), (second, two, low), *rest = predictions
    return [(second, two, high), (first, one, low), *rest]


@dataclass(frozen=True)
class Trials:
    """A stack that takes new versions, and the callers that it bears."""

    stack: Stack
    directory: Path
    callers: Callers

    def deploy(self, version: str, edit: Edit, *options: str) -> tuple[int, Any, float]:
        """Exit status, verdict and seconds of a deployment under load."""
        began = time.monotonic()
        with self.callers.at_work(), self.deploying(version, edit, *options) as process:
            try:
                told, complaints = process.communicate(timeout=DEPLOYMENT_S)
            except BaseException:
                process.kill()  # leaving the block waits for it
                raise
        say(complaints)
        assert told, complaints
        return process.returncode, json.loads(told)["verdict"], time.monotonic() - began

    def deploying(self, version: str, edit: Edit, *options: str) -> subprocess.Popen[str]:
        """A deployment that has begun; what callers saw before is forgotten."""
        made = edited(archive(), self.directory, version, edit)
        self.callers.forget()
        command = [sys.executable, "-m", "marserve", "deploy", MODEL, "--archive", str(made), "--yes", "--json"]
        return subprocess.Popen(
            [*command, *options],
            env=self.stack.environment,
            cwd=REPOSITORY,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def versions(self) -> list[tuple[str, bool]]:
        """Each version that is served, and whether it is the default."""
        status = json.loads(self.stack.run("marserve", "status", "--json", "--interval", "0.1").stdout)
        return [(one["version"], one["is_default"]) for one in status["versions"] if one["model"] == MODEL]


@contextmanager
def stage(_: argparse.Namespace, load: float = LOAD) -> Iterator[Trials]:
    """A stack of one worker, and callers who send the share ``load`` of what it can do."""
    stack = stack_on_free_ports()
    try:
        say("  starting the stack ...")
        stack.started("--archive", str(archive()), "--workers", "1", "--model-api")
        with tempfile.TemporaryDirectory() as directory:
            callers = Callers(stack.web)
            with callers.at_work():
                time.sleep(2)
                before = callers.versions.total()
                time.sleep(4)
                most = (callers.versions.total() - before) / 4
            callers.rate = most * load
            say(f"  one worker answers {most:.0f} pictures/s; the clients send {callers.rate:.0f}")
            yield Trials(stack, Path(directory), callers)
    finally:
        stack.end()


_versions = itertools.count(2)


def goes_back(name: str, edit: Edit, finding: str, *options: str, differs: bool = False) -> Callable[[Trials], Row]:
    """The row of a version that must go back for ``finding``."""

    def row(trials: Trials) -> Row:
        before = trials.versions()
        trials.callers.may_differ = differs
        status, verdict, seconds = trials.deploy(f"{next(_versions)}.0", edit, *(options or CANARY))
        complaints = []
        if (status, verdict["decision"]) != (1, "back") or finding not in verdict["reason"]:
            complaints.append(f"exit status {status}, {verdict['decision']}: {verdict['reason']}")
        if trials.versions() != before:
            complaints.append(f"left {trials.versions()} instead of {before}")
        return _row(name, trials.callers, verdict, complaints, seconds)

    return row


def goes_forward(trials: Trials) -> Row:
    version = f"{next(_versions)}.0"
    trials.callers.may_differ = False
    status, verdict, seconds = trials.deploy(
        version, good, "--shadow", "50%", *CANARY, "--max-error-rate", "0.5%", "--remove-old"
    )
    complaints = []
    if (status, verdict["decision"], trials.versions()) != (0, "forward", [(version, True)]):
        complaints.append(f"exit status {status}, {verdict['decision']}: {verdict['reason']}, {trials.versions()}")
    name = "as good as the one before: a shadow, then a canary; failures beyond 0.5 % ruled out"
    return _row(name, trials.callers, verdict, complaints, seconds)


def killed(trials: Trials) -> Row:
    """The command is killed while its version answers every picture; then whoever comes next settles what it left."""
    before, version = trials.versions(), f"{next(_versions)}.0"
    callers = trials.callers
    callers.may_differ = False
    complaints = []
    with callers.at_work(), trials.deploying(version, good, "--canary", "100%") as process:
        if not wait_until(lambda: callers.versions[version] > CLIENTS, 120):
            complaints.append("the canary answered nothing")
        process.kill()
        at = time.monotonic()
        time.sleep(2 * LIFETIME_S)
        back_s = callers.answered_at.get(version, at) - at
        if back_s > LIFETIME_S + 1 or callers.answered_at["1.0"] < at:
            complaints.append(f"{version} answered {back_s:.1f} s after that")
        trials.stack.run("marserve", "scale", MODEL, "--workers", "1", "--yes")
        if not wait_until(lambda: trials.versions() == before, 60, poll_s=1):
            complaints.append(f"left {trials.versions()} instead of {before}")
    counts = callers.versions
    seen = (
        f"{counts.total():,} answers, {counts[version]:,} of them by the new version, longest {callers.longest_s:.1f} s"
    )
    return _finished(
        "`deploy` is killed (SIGKILL) while its canary has all pictures", callers, seen, complaints, back_s
    )


def _row(name: str, callers: Callers, verdict: Any, complaints: list[str], seconds: float) -> Row:
    counts = callers.versions
    by_new = counts.total() - counts["1.0"]
    findings = "; ".join(f"{one['name']} {one['state']}: {one['text']}" for one in verdict["findings"])
    seen = (
        f"{counts.total():,} answers, {by_new:,} of them by the new version, longest {callers.longest_s:.1f} s. "
        f"Verdict after {verdict['seconds']:.0f} s and {verdict['answered']:,} pictures: {findings}"
    )
    return _finished(name, callers, seen, complaints, seconds)


def _finished(name: str, callers: Callers, seen: str, complaints: list[str], seconds: float) -> Row:
    """Without one answer that was wrong, or none."""
    complaints = complaints + callers.bad[:3]
    lost = f"{len(callers.bad)} answers" if callers.bad else "nothing"
    seen += f". **{'; '.join(complaints)}**" if complaints else ""
    return Row(name, seen, seconds, lost, holds=not complaints)


ROWS: Mapping[str, Callable[[Trials], Row]] = {
    "slower-by-half": goes_back("a version that takes half as long again, as a canary", slower_by_half, "time"),
    "differs": goes_back(
        f"a version that answers 1 picture in {DIFFERS_IN} differently, as a canary",
        differs,
        "other answers",
        differs=True,
    ),
    "differs-shadow": goes_back(
        "the same as a shadow: callers see none of it", differs, "other answers", "--shadow", "100%"
    ),
    "deadly": goes_back(
        f"a version that ends its worker on 1 picture in {DEADLY_IN}, as a canary", deadly, "workers ended"
    ),
    "deploy-killed": killed,
    "good": goes_forward,
}
