"""What was seen in a long run, and whether any of it creeps."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from marserve.terminal import say
from tests.e2e.dispatching import percentile
from tests.reliability.crowd import Answer
from tests.reliability.table import MOST_TOLD, Row

#: Memory may grow by so much from the second sixth of the run, when all is warm, to the last.
MOST_GROWTH = 0.05
#: Bytes that a process may grow by at any rate: a small one takes that much for nothing worth a name.
FREE_BYTES = 4 << 20
#: Java compiles and sizes its heap for minutes: 155 MiB became 207 in 90 seconds, the last 15 in a minute. A run that
#: is shorter than this allows it that much, and sees only what is larger.
WARM_MINUTES, JAVA_WARMING_BYTES = 30.0, 64 << 20
#: What work needs for a moment.
FEW_FILES, FEW_THREADS = 10, 3
#: The slowest hundredth of the last sixth of the run against that of the first.
MOST_SLOWER = 1.2
#: Requests that may be told to come again: a version that loads takes the cores that answers are computed on.
MOST_OVERLOAD = 0.01


@dataclass(frozen=True)
class Sample:
    """All processes of one kind at one time."""

    at: float
    kind: str
    processes: int
    #: Proportional set size, in which a page that several share counts once.
    bytes: int
    #: File descriptors, connections of callers left out.
    files: int
    threads: int


@dataclass
class LongRun:
    """What was seen, from ``began`` on; times by time.monotonic()."""

    minutes: float
    began: float = 0.0
    ended: float = 0.0
    #: Requests a second.
    rate: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """What breaks inside the block has failed, and an hour's rows are written all the same."""
        try:
            yield
        except Exception as exc:  # noqa: BLE001 - whatever it is
            say(f"  {what}: {exc!r}")
            self.failed.append(f"{what}: {exc!r}"[:MOST_TOLD])

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.began

    def sixth(self, number: int) -> tuple[float, float]:
        """Begin and end of one sixth of it, the last is number 5."""
        return self.began + self.seconds * number / 6, self.began + self.seconds * (number + 1) / 6

    def typical(self, number: int, what: Callable[[Sample], int]) -> dict[str, float]:
        """The median of something in one sixth, by kind of process."""
        begin, end = self.sixth(number)
        found: dict[str, list[int]] = {}
        for sample in self.samples:
            if begin <= sample.at <= end:
                found.setdefault(sample.kind, []).append(what(sample))
        return {kind: statistics.median(values) for kind, values in sorted(found.items())}

    def p99_s(self, number: int) -> float:
        """Of the pictures in one sixth that a worker computed, from when they were due."""
        begin, end = self.sixth(number)
        times = sorted(
            answer.seconds
            for answer in self.answers
            if begin <= answer.sent_at < end and answer.outcome == "right" and not answer.from_cache
        )
        return percentile(times, 99) if times else 0.0

    def _name(self, what: str) -> str:
        early = "" if self.seconds >= 59 * self.minutes else f", stopped early (of {self.minutes:.0f})"
        return f"{what}: {self.seconds / 60:.0f} minutes{early} at {self.rate:.0f} requests/s"

    def every_answer(self) -> Row:
        """Whether every answer was right, and everything that was to be changed was."""
        outcomes = Counter(answer.outcome for answer in self.answers)
        told = Counter(answer.told for answer in self.answers)
        bad = {outcome: count for outcome, count in outcomes.items() if outcome not in {"right", "overload"}}
        seen = f"{outcomes['right']} right of {len(self.answers)}, " + ", ".join(
            f"{count} × {text[:120]}" for text, count in told.most_common(8)
        )
        if self.failed:
            seen += f". **{'; '.join(self.failed)}**"
        holds = (
            not bad
            and not self.failed
            and bool(outcomes["right"])
            and outcomes["overload"] <= MOST_OVERLOAD * len(self.answers)
        )
        return Row(self._name(", ".join(self.done) or "nothing changed"), seen, None, "nothing", holds)

    def memory(self) -> Row:
        """Whether memory stays."""
        before, after = (self.typical(number, lambda sample: sample.bytes) for number in (1, 5))

        def allowed(kind: str) -> float:
            is_warming = kind == "Java" and self.minutes < WARM_MINUTES
            return max(MOST_GROWTH * before[kind], JAVA_WARMING_BYTES if is_warming else FREE_BYTES)

        holds = before.keys() == after.keys() and all(after[kind] - before[kind] <= allowed(kind) for kind in before)
        return self._row("memory", "MiB", before, after, 1 << 20, holds)

    def files(self) -> Row:
        """Whether file descriptors stay."""
        before, after = (self.typical(number, lambda sample: sample.files) for number in (1, 5))
        return self._row("file descriptors", "", before, after, 1, self._are_flat(before, after, FEW_FILES))

    def threads(self) -> Row:
        """Whether threads stay."""
        before, after = (self.typical(number, lambda sample: sample.threads) for number in (1, 5))
        return self._row("threads", "", before, after, 1, self._are_flat(before, after, FEW_THREADS))

    def latency(self) -> Row:
        """Whether the slowest hundredth stays."""
        first, last = self.p99_s(0), self.p99_s(5)
        seen = f"{first * 1000:.0f} ms in the first sixth, {last * 1000:.0f} ms in the last"
        return Row(self._name("p99"), seen, None, "nothing", holds=0 < last <= MOST_SLOWER * first)

    def _are_flat(self, before: Mapping[str, float], after: Mapping[str, float], few: int) -> bool:
        return before.keys() == after.keys() and all(after[kind] <= before[kind] + few for kind in before)

    def _row(
        self, what: str, unit: str, before: Mapping[str, float], after: Mapping[str, float], scale: int, holds: bool
    ) -> Row:
        parts = [
            f"{kind} {before.get(kind, 0) / scale:.0f} → {after.get(kind, 0) / scale:.0f} {unit}".rstrip()
            for kind in sorted(before.keys() | after.keys())
        ]
        seen = ", ".join(parts) or "nothing: it was stopped too early"
        return Row(self._name(what), seen, None, "nothing", holds and bool(parts))
