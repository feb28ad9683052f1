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

#: Memory may grow by so much from the second sixth of the run to the last.
MOST_GROWTH = 0.05
#: Bytes that a process may grow by at any rate: a small one takes that much for nothing worth a name.
FREE_BYTES = 4 << 20
#: Java makes its heap larger for minutes, and fills it: 247 MiB became 313 in two. In a run that is shorter than this,
#: its parts are judged instead: what collections of the heap leave (30 MiB), and what Java takes beside it (107 MiB).
#: Either may grow by so much. So may workers: the one in the end is not the one in the beginning (258 and 270 MiB).
#: So may the web service, in which a first rush leaves 5 MiB: Python's own blocks, which the next one takes again. It
#: holds the pictures that wait for a worker, 55 MiB of them where a machine became slower in the last minute: in a
#: short run the least that it had counts, and in the last sixth what it has while it rests after the load.
WARM_MINUTES, WARMING_BYTES = 30.0, 16 << 20
LEFT, BESIDE = "left by Java's collections", "Java beside its heap"
WEB, AT_LEAST = "web service", "web service at least"
#: The sixths of the run that are compared: the second, when all is warm, and the last.
WARM, LAST = 1, 5
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
    #: Of Java: what of its heap is in memory, and what its last collection left.
    heap_bytes: int = 0
    left_bytes: int = 0


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
        found: dict[str, list[int]] = {}
        for sample in self._samples(number):
            found.setdefault(sample.kind, []).append(what(sample))
        return {kind: statistics.median(values) for kind, values in sorted(found.items())}

    def _samples(self, number: int) -> list[Sample]:
        begin, end = self.sixth(number)
        return [sample for sample in self.samples if begin <= sample.at <= end]

    def _memory(self, number: int) -> dict[str, float]:
        """The median of bytes in one sixth, by kind of process, Java's parts beside it; of the heap, the least that was
        left: what has just been made is dead by the next collection. And the least of the web service.
        """
        found = self.typical(number, lambda sample: sample.bytes)
        if parts := [sample for sample in self._samples(number) if sample.left_bytes]:
            found[LEFT] = min(sample.left_bytes for sample in parts)
            found[BESIDE] = statistics.median(sample.bytes - sample.heap_bytes for sample in parts)
        if WEB in found:
            rest = [sample for sample in self.samples if sample.at > self.ended] if number == LAST else []
            found[AT_LEAST] = min(sample.bytes for sample in self._samples(number) + rest if sample.kind == WEB)
        return found

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
        before, after = self._memory(WARM), self._memory(LAST)
        is_warming = self.minutes < WARM_MINUTES and LEFT in before

        def is_kept(kind: str) -> bool:
            if kind in ({"Java", WEB} if is_warming else {BESIDE, AT_LEAST}):
                return True  # as the parts and the least are, or the whole is
            free = WARMING_BYTES if is_warming and kind != "supervisor" else FREE_BYTES
            return after[kind] - before[kind] <= max(MOST_GROWTH * before[kind], free)

        holds = before.keys() == after.keys() and all(is_kept(kind) for kind in before)
        return self._row("memory", "MiB", before, after, 1 << 20, holds)

    def files(self) -> Row:
        """Whether file descriptors stay."""
        before, after = (self.typical(number, lambda sample: sample.files) for number in (WARM, LAST))
        return self._row("file descriptors", "", before, after, 1, self._are_flat(before, after, FEW_FILES))

    def threads(self) -> Row:
        """Whether threads stay."""
        before, after = (self.typical(number, lambda sample: sample.threads) for number in (WARM, LAST))
        return self._row("threads", "", before, after, 1, self._are_flat(before, after, FEW_THREADS))

    def latency(self) -> Row:
        """Whether the slowest hundredth stays."""
        first, last = self.p99_s(0), self.p99_s(LAST)
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
