"""``kill -9`` of every process at random moments of deployments and rollbacks: what does the next start serve?

Each must serve one of the two versions, whole, and say which. Which one answers is read from the labels, which are
others in each version.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
import requests

from marserve.stack.deployments import Deployments
from marserve.stack.model_store import DeploymentStore
from marserve.stack.run_directory import State
from marserve.stack.torchserve_answers import using_temp
from marserve.system.processes import running
from marserve.terminal import say
from tests.e2e.operating import Edit, edited
from tests.e2e.serving import ANSWER_S, Stack, stack_on_free_ports
from tests.reliability.table import Row
from tests.reliability.under_load import MODEL, archive
from tests.support import CAT, REPOSITORY

#: Seconds that moments are chosen among at first, and how these change with each command that had ended before its
#: moment, or had not: three in four are to be in the middle of it.
LASTS_S = {"deploy": 7.0, "rollback": 3.2}
SHORTER, LONGER = 0.85, 1.055
#: Seconds between two pictures of the caller, who sends them all the time.
PAUSE_S = 0.05
#: What stands before the labels of a version.
MARK = "of version "


def marked(version: str) -> Edit:
    """Labels that say which version gave them."""

    def edit(files: dict[str, bytes]) -> None:
        labels = json.loads(files["index_to_name.json"])
        renamed = {index: [wnid, f"{MARK}{version} {name}"] for index, (wnid, name) in labels.items()}
        files["index_to_name.json"] = json.dumps(renamed).encode()

    return edit


def version_of(label: str) -> str:
    """The one whose label it is."""
    found, _, rest = label.partition(MARK)
    return rest.split()[0] if not found and rest else f"none, but {label!r}"


class Caller:
    """Sends a picture all the time; an answer by a version that is not ``allowed`` is wrong."""

    def __init__(self, url: str) -> None:
        self.allowed: frozenset[str] = frozenset()
        self.outcomes: Counter[str] = Counter()
        self.longest_s = 0.0
        self._url = url

    @contextmanager
    def at_work(self) -> Iterator[Caller]:
        stop = threading.Event()
        thread = threading.Thread(target=self._send, args=(stop,))
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    def _send(self, stop: threading.Event) -> None:
        picture = CAT.read_bytes()
        while not stop.wait(PAUSE_S):
            began, allowed = time.monotonic(), self.allowed
            try:
                reply = requests.post(f"{self._url}/predict", files={"file": picture}, timeout=ANSWER_S)
            except requests.RequestException:
                outcome = "refused"
            else:
                outcome = str(reply.status_code)
                if reply.status_code == requests.codes.ok:
                    version = version_of(reply.json()[0]["label"])
                    outcome = "right" if version in allowed | self.allowed else f"wrong: version {version}"
            self.outcomes[outcome] += 1
            self.longest_s = max(self.longest_s, time.monotonic() - began)


@dataclass(frozen=True)
class Moment:
    """One kill and what came of it."""

    command: str
    #: Seconds after the command began.
    after_s: float
    command_had_ended: bool
    before: str
    wanted: str
    #: What the next start served, and whether it said that something had been interrupted.
    served: str
    said_interrupted: bool
    ready_s: float
    #: What is not as it should be; empty where the moment holds.
    faults: Sequence[str] = ()


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

    def kill_once(self) -> Moment:
        """Begin a deployment or a rollback, kill everything at a moment of it, and start again."""
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
            kill_everything(self.stack, process.pid)
        at = time.monotonic()
        started = self.stack.run("serve", "--detach", *self.arguments)
        ready_s = time.monotonic() - at
        moment = self._judged(Moment(command, after_s, had_ended, before, wanted, "nothing", False, ready_s), started)
        self.caller.allowed = frozenset((moment.served,))
        return moment

    def _judged(self, moment: Moment, started: subprocess.CompletedProcess[str]) -> Moment:
        if started.returncode:
            return Moment(**{**asdict(moment), "faults": [f"it did not start: {started.stderr.strip()[-300:]}"]})
        predictions = self.stack.predict(MODEL).json()["predictions"]
        served = version_of(predictions[0]["label"])
        record = self.record
        store = DeploymentStore(self.stack.run_directory)
        model = record.models[MODEL]
        damaged = [one.version for one in model.versions if store.damage(one) is not None]
        named = {version.archive for version in model.versions}
        there = {file.name for file in store.path.iterdir()} - {"deployments.json"}
        through_web = version_of(self._through_web())
        faults = {
            "it served a third version": served not in (moment.before, moment.wanted),
            "its record names another": model.current.version != served,
            "it said another": f"Starting TorchServe for {MODEL} {served}:" not in started.stdout,
            f"the web service answered with {through_web}": through_web != served,
            "something was left half done": record.pending is not None or there != named,
            f"damaged: {damaged}": bool(damaged),
            f"it complained: {started.stderr.strip()[-300:]}": "!" in started.stderr,
        }
        return Moment(
            **{
                **asdict(moment),
                "served": served,
                "said_interrupted": "was interrupted" in started.stdout,
                "faults": [fault for fault, found in faults.items() if found],
            }
        )

    def _through_web(self) -> str:
        reply = requests.post(f"{self.stack.web}/predict", files={"file": CAT.read_bytes()}, timeout=ANSWER_S)
        assert reply.status_code == requests.codes.ok, reply.text
        return str(reply.json()[0]["label"])


def kill_everything(stack: Stack, command: int) -> None:
    """SIGKILL to the command, whoever stays with the stack, each service and each worker, until none is left."""
    state = State.read(stack.run_directory.state)
    recorded = [] if state is None else [state.serve, *state.processes]
    while True:
        found = [process for process in map(running, recorded) if process is not None]
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(command))
        for process in list(found):
            with suppress(psutil.NoSuchProcess):
                found += process.children(recursive=True)
        found += using_temp(state.temp) if state is not None else []
        living = [process for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        if not living:
            return
        for process in living:
            with suppress(psutil.NoSuchProcess):
                process.kill()


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
    earlier: list[Moment] = []
    if options.add_to is not None and options.add_to.exists():
        lines = options.add_to.read_text(encoding="utf-8").splitlines()
        earlier = [Moment(**json.loads(line)) for line in lines]
    seed = options.seed + len(earlier)
    moments: list[Moment] = []
    with tried(seed) as stage:
        for _ in range(options.moments):
            moment = stage.kill_once()
            moments.append(moment)
            say(f"  {moment}")
            if options.add_to is not None:
                with options.add_to.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(moment)) + "\n")
        return summary([*earlier, *moments], stage.caller)


def summary(moments: Sequence[Moment], caller: Caller) -> Row:
    """The row for all ``moments``; ``caller`` has seen those of this run."""
    became = Counter("new" if moment.served == moment.wanted else "before" for moment in moments)
    commands = Counter(moment.command for moment in moments)
    done = sum(moment.command_had_ended for moment in moments)
    told = sum(moment.said_interrupted for moment in moments)
    wrong = [outcome for outcome in caller.outcomes if outcome.startswith("wrong")]
    faults = [fault for moment in moments for fault in moment.faults]
    ready = [moment.ready_s for moment in moments]
    seen = ", ".join(f"{count} {outcome}" for outcome, count in caller.outcomes.most_common())
    return Row(
        f"`kill -9` of all processes at {len(moments)} random moments of {commands['deploy']} deployments and "
        f"{commands['rollback']} rollbacks, {done} of them after the command had ended, and `serve` again: "
        f"{became['before']} × the version before, {became['new']} × the new one, each as it said; {told} × it told of "
        "an interrupted change",
        f"{seen}; the longest {caller.longest_s:.1f} s (of the last run)",
        statistics.median(ready),
        "; ".join(faults) or "nothing",
        holds=not faults and not wrong,
    )


@contextmanager
def stage(options: argparse.Namespace) -> Iterator[argparse.Namespace]:
    yield options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--moments", type=int, default=50, metavar="N", help="so many kills (default: 50)")
    parser.add_argument("--seed", type=int, default=14, metavar="N", help="of the moments (default: 14)")
    parser.add_argument(
        "--add-to", type=Path, metavar="FILE", help="count the moments in FILE as well, and add those of this run"
    )


ROWS: Mapping[str, Callable[[argparse.Namespace], Row]] = {"killed": killed}
