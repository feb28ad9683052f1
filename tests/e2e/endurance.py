"""The experiments of ``dispatching``, for as long as it takes to believe them: python -m tests.e2e.endurance --help

It starts a stack of its own, shows how far it is, and ends with a table and exit status 0 only if every promise held.
Latencies are this machine's, the load generator's share of its cores included.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from marserve.terminal import say
from tests.e2e.dispatching import (
    BULK,
    SETTINGS,
    Shared,
    edited_to_die,
    hurry,
    leave,
    leave_at_once,
    percentile,
    send_killers,
    share,
)
from tests.e2e.operating import MODEL, done, rename_labels, variant
from tests.e2e.serving import Stack, stack_on_free_ports
from tests.e2e.steady_load import SteadyLoad

#: Most pictures of one group.
BATCH = 8


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    promise: str
    seen: str
    holds: bool


@dataclass(frozen=True)
class Endurance:
    """What is done to ``stack``, and for how long."""

    stack: Stack
    temp: Path
    workers: int
    seconds: float
    clients: int
    deadlines_ms: tuple[int, ...]

    @property
    def on_their_way(self) -> int:
        """Pictures that workers have or have at hand."""
        return (self.workers + 1) * BATCH

    def killer(self) -> Iterator[Row]:
        """A picture that kills its worker, among good ones."""
        deadly = variant(self.stack, self.temp, "6.6", edited_to_die)
        done(self.stack, "deploy", MODEL, "--archive", str(deadly), "--yes")
        times = 20
        with SteadyLoad(self.stack).running() as load:
            statuses = send_killers(
                self.stack,
                self.workers,
                times=times,
                progress=lambda number: say(f"  killed {number} of {times} times"),
            )
            load.wait_for(load.clients)
        done(self.stack, "rollback", MODEL, "--yes")
        seen = f"{load.answered} good ones answered, {len(load.failures)} failed; the killer: {sorted(set(statuses))}"
        yield Row(f"a picture kills its worker {times} times among {load.clients} clients", seen, not load.failures)
        for failure in load.failures[:3]:
            say(f"  {failure}")

    def leaving(self) -> Iterator[Row]:
        """Callers that do not wait."""
        left = asyncio.run(leave(self.stack, connections=128, requests_each=30, share_that_leaves=0.3))
        seen = f"{left.answered} answered, {left.left} left, {left.computed} computed, {left.in_vain:.0f} in vain"
        yield Row("30 % of 128 callers leave at random", seen, left.in_vain == 0)
        left = asyncio.run(leave_at_once(self.stack, stay=64, leave=64))
        seen = f"{left.computed - left.answered} of {left.left} computed (on their way: {self.on_their_way} at most)"
        yield Row("64 leave from behind 64 others", seen, left.computed - left.answered <= self.on_their_way)

    def fairness(self) -> Iterator[Row]:
        """One caller's flood beside another's picture a second."""
        shared = asyncio.run(share(self.stack, connections=64, requests_alone=60, requests_beside=60, pause_s=1.0))
        alone, beside = percentile(shared.alone_s, 99), percentile(shared.beside_s, 99)
        yield Row("p99 of one picture a second beside 64 connections of another: 3 × at most", _compared(shared, 99),
                  beside <= 3 * alone)  # fmt: skip

    def bulk(self) -> Iterator[Row]:
        """A batch job beside the same."""
        shared = asyncio.run(
            share(
                self.stack, connections=64, requests_alone=60, requests_beside=60, pause_s=1.0, flood_headers=BULK,
                same_caller=True,
            )
        )  # fmt: skip
        alone, beside = percentile(shared.alone_s, 50), percentile(shared.beside_s, 50)
        yield Row("median of one picture a second beside 64 connections of bulk: 3 × at most", _compared(shared, 50),
                  beside <= 3 * alone and shared.flood_per_s > 0)  # fmt: skip

    def deadlines(self) -> Iterator[Row]:
        """More callers than can be served in time."""
        for deadline_ms in self.deadlines_ms:
            hurried = asyncio.run(hurry(self.stack, connections=128, deadline_s=deadline_ms / 1000, seconds=20))
            accepted = hurried.statuses[200]
            again = hurried.accepted_again / max(1, hurried.sent_again)
            seen = (
                f"{accepted} accepted, of these {hurried.late} late; {hurried.statuses[503]} refused, "
                f"{hurried.untruthful} without a true Retry-After; {again:.0%} of those that came back were accepted; "
                f"others { ({code: count for code, count in hurried.statuses.items() if code not in {200, 503}}) }"
            )
            holds = (
                bool(accepted) and not hurried.late and not hurried.untruthful and set(hurried.statuses) <= {200, 503}
            )
            yield Row(f"128 connections, {deadline_ms} ms for each", seen, holds)

    def crowd(self) -> Iterator[Row]:
        """Everything is changed while many ask."""
        second = variant(self.stack, self.temp, "2.0", rename_labels)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("2 workers", lambda: done(self.stack, "scale", MODEL, "--workers", "2", "--force", "--yes")),
            ("1 worker", lambda: done(self.stack, "scale", MODEL, "--workers", "1", "--yes")),
            (
                "version 2.0",
                lambda: done(self.stack, "deploy", MODEL, "--archive", str(second), "--no-compare", "--yes"),
            ),
        ]
        done(self.stack, "scale", MODEL, "--workers", "1", "--yes")
        began = time.monotonic()
        with SteadyLoad(self.stack, clients=self.clients).running() as load:
            for number, (name, step) in enumerate(steps, 1):
                self._answer_until(began + self.seconds * number / (len(steps) + 1), load)
                step()
                say(f"  {name}")
            self._answer_until(began + self.seconds, load)
        lasted = time.monotonic() - began
        wrong = sum("instead of" in failure for failure in load.failures)
        lost = len(load.failures) - wrong
        seen = f"{lasted:.0f} s, {load.answered} answered {dict(load.versions)}, {wrong} wrong, {lost} lost"
        yield Row(f"{self.clients} clients, workers 1 → 2 → 1 and a deployment", seen, not load.failures)
        for failure in load.failures[:3]:
            say(f"  {failure}")

    def _answer_until(self, end: float, load: SteadyLoad) -> None:
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 30.0))
            left = max(0.0, end - time.monotonic())
            say(f"  {load.answered} answered, {len(load.failures)} failed; {left:.0f} s left")


EXPERIMENTS = ("killer", "leaving", "fairness", "bulk", "deadlines", "crowd")


def _compared(shared: Shared, percent: int) -> str:
    alone, beside = percentile(shared.alone_s, percent), percentile(shared.beside_s, percent)
    return (
        f"{alone * 1000:.0f} ms alone, {beside * 1000:.0f} ms beside ({beside / alone:.1f} ×); overtaken by "
        f"{max(shared.overtaken_by)} at most; the flood {shared.flood_per_s:.0f}/s {dict(shared.flood_statuses)}"
    )


@contextmanager
def _stack(options: argparse.Namespace) -> Iterator[Stack]:
    stack = stack_on_free_ports()
    try:
        yield stack.started(
            "--weights", "untrained", "--precision", options.precision, "--workers", str(options.workers),
            "--model-api", **SETTINGS,
        )  # fmt: skip
    finally:
        stack.end()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.endurance", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS, metavar="NAME",
                        help=f"some of: {' '.join(EXPERIMENTS)}")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=600, help="of the crowd (default: 600)")
    parser.add_argument("--clients", type=int, default=256, help="of the crowd (default: 256)")
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16", "int8"], help="(default: f32)")
    parser.add_argument("--workers", type=int, default=2, help="of the model (default: 2)")
    parser.add_argument("--deadlines", type=int, nargs="+", default=[100, 250], help="milliseconds (default: 100 250)")
    options = parser.parse_args()
    rows: list[Row] = []
    say("Starting a stack ...")
    with _stack(options) as stack, tempfile.TemporaryDirectory() as temp:
        endurance = Endurance(
            stack, Path(temp), options.workers, options.seconds, options.clients, tuple(options.deadlines)
        )
        for name in options.only:
            experiment = getattr(endurance, name)
            say(f"{name}: {experiment.__doc__}")
            for row in experiment():
                rows.append(row)
                say(f"  {row.seen}")
    say("\n| promise | seen | |\n|---|---|---|")
    for row in rows:
        say(f"| {row.promise} | {row.seen} | {'holds' if row.holds else 'BROKEN'} |")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
