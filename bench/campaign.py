"""The run itself: rounds of visits, each a start, checks, measurements and a stop; and how long that takes."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import server_process
from bench.candidate import Candidate, RunningServer, measured_keys
from bench.errors import BenchError, CandidateError
from bench.measurements import Journal
from bench.options import COMPARED_AT, BenchOptions
from bench.pictures import COLORED, LARGE, LARGE_CLIENTS, PHOTOGRAPHS, PictureSet
from bench.rates import LIMITS_MS, Measured, Rates
from bench.reference import Expected
from bench.target import Target, send, send_picture
from bench.wrk import Load, run_wrk, write_requests
from marserve.system.loopback import LocalReply
from marserve.system.waiting import wait_until
from marserve.terminal import say

#: Seconds from a server's start to its first right answer.
START_S = 180.0
POLL_S = 0.05
POLL_TIMEOUT_S = 10.0
#: Clients of the warm-up: enough that batches form, and that every worker gets work.
WARM_UP_CLIENTS = 16
#: Seconds of one visit besides its measurements, as seen on two cores: start, checks, stop.
VISIT_S = 14.0
#: Seconds of each measurement besides its own: wrk reads the pictures.
MEASUREMENT_S = 0.5
#: Of a search: runs for each limit, and requests a second of the servers on two cores, on average.
SEARCH_RUNS, SEARCHED_PER_S = 4, 130
#: Seconds of each open-loop run besides its own: it starts, and waits for the last answers.
RUN_S = 1.5
#: Seconds of each in-process measurement besides its own: its processes load and warm up.
LIMIT_S = 8.0


@dataclass(frozen=True)
class Step:
    """One measurement at a running server: which pictures, how many clients."""

    pictures: str
    clients: int


def steps_of(key: str, options: BenchOptions) -> list[Step]:
    """What is measured at the level ``key`` of a server."""
    if "servers" not in options.parts:
        # Rates are chosen by the throughput.
        return [Step(PHOTOGRAPHS, COMPARED_AT)] if options.wants_rates(key) else []
    clients = options.clients if options.wants_curve(key) else (COMPARED_AT,)
    # The most telling first: a visit that breaks off has it.
    ordered = sorted(set(clients), key=lambda number: (number != COMPARED_AT, number))
    steps = [Step(PHOTOGRAPHS, number) for number in ordered]
    if options.wants_large(key):
        steps.append(Step(LARGE, LARGE_CLIENTS))
    return steps


def visited(candidates: Iterable[Candidate], options: BenchOptions) -> list[Candidate]:
    """Those at which something is measured."""
    return [one for one in candidates if any(steps_of(key, options) for _, key in measured_keys(one))]


def visiting_order(candidates: Sequence[Candidate], round_number: int) -> list[Candidate]:
    """Each round has its own order, the same in every run: a slow minute of the machine hits different servers."""
    order = list(candidates)
    random.Random(round_number).shuffle(order)  # noqa: S311 - an order, no secret
    return order


def estimate_s(candidates: Iterable[Candidate], options: BenchOptions) -> float:
    """Seconds that the whole run takes, set-up of the peers' environments apart."""
    total = 0.0
    run_s = options.rate_requests / SEARCHED_PER_S + RUN_S
    for candidate in visited(candidates, options):
        keys = [key for _, key in measured_keys(candidate)]
        steps = [step for key in keys for step in steps_of(key, options)]
        searched = sum(options.wants_rates(key) for key in keys)
        runs = len(options.arrivals) * len(LIMITS_MS) * SEARCH_RUNS * ("rates" in options.parts)
        runs += "bursts" in options.parts
        total += options.rounds * (
            VISIT_S + len(keys) * options.warm_up_s + len(steps) * (options.seconds + MEASUREMENT_S)
            + searched * runs * run_s
        )  # fmt: skip
    if "limit" in options.parts:
        total += options.rounds * len(options.precisions) * 3 * (options.seconds + LIMIT_S)
    return total


class Campaign:
    """All visits of one run; what was measured before is not measured again."""

    def __init__(
        self,
        journal: Journal,
        options: BenchOptions,
        picture_sets: Mapping[str, PictureSet],
        expected: Sequence[Expected],
        scratch: Path,
    ) -> None:
        self._journal = journal
        self._options = options
        self._picture_sets = picture_sets
        self._expected = expected
        self._scratch = scratch
        self._failed: set[str] = set()
        self._rates = Rates(journal, options.arrivals, options.rate_requests)

    def run_round(self, candidates: Sequence[Candidate], round_number: int) -> None:
        """Visit each candidate; one that fails is left out of this and the following rounds, with its reason."""
        for candidate in visiting_order(visited(candidates, self._options), round_number):
            if candidate.key in self._failed or self._is_done(candidate, round_number):
                continue
            say(f"round {round_number}: {candidate.title}")
            try:
                self.visit(candidate, round_number)
            except BenchError as exc:
                say(f"  left out: {exc}")
                self._failed.add(candidate.key)
                self._journal.add("left out", candidate=candidate.key, title=candidate.title, reason=str(exc))

    def visit(self, candidate: Candidate, round_number: int) -> None:
        """One start with all its measurements. Raises BenchError where the server does not do its work."""
        with candidate.run() as server:
            chosen = [(level, key) for level, key in measured_keys(candidate) if steps_of(key, self._options)]
            for position, (level, key) in enumerate(chosen):
                target = server.targets[level]
                self._check(target, server)
                if position == 0:
                    self._journal.add(
                        "start", candidate=candidate.key, round=round_number,
                        seconds=time.monotonic() - server.started,
                    )  # fmt: skip
                    self._note_memory(candidate, server, round_number, "idle")
                self._measure_level(candidate, key, target, server, round_number)
                if position == 0:
                    self._note_memory(candidate, server, round_number, "loaded")

    def _measure_level(
        self, candidate: Candidate, key: str, target: Target, server: RunningServer, round_number: int
    ) -> None:
        requests = {name: self._write_requests(name, target) for name in self._needed_sets(key)}
        run_wrk(target, requests[PHOTOGRAPHS], WARM_UP_CLIENTS, self._options.warm_up_s)
        self._wait_for_the_queue(target)
        for step in steps_of(key, self._options):
            fields = {"candidate": key, "pictures": step.pictures, "round": round_number, "clients": step.clients}
            if self._journal.has("load", **fields):
                continue
            first = round_number * 37 + step.clients
            before = server_process.cpu_seconds(server.mark)
            load = run_wrk(target, requests[step.pictures], step.clients, self._options.seconds, first)
            after = server_process.cpu_seconds(server.mark)
            used = {name: seconds - before.get(name, 0.0) for name, seconds in after.items()}
            self._note_load(candidate, key, load, step, round_number, used)
            self._wait_for_the_queue(target)
        if self._options.wants_rates(key):
            self._measure_open_loop(candidate, key, target, round_number)

    def _measure_open_loop(self, candidate: Candidate, key: str, target: Target, round_number: int) -> None:
        measured = Measured(
            _fields(candidate, key), target, self._write_requests(COLORED, target),
            self._capacity_per_s(key, round_number), round_number,
        )  # fmt: skip
        if "rates" in self._options.parts:
            self._rates.search(measured, lambda: self._wait_for_the_queue(target))
        if "bursts" in self._options.parts and not self._rates.has_bursts(key, round_number):
            self._rates.bursts(measured, lambda: self._wait_for_the_queue(target))

    def _capacity_per_s(self, key: str, round_number: int) -> float:
        """Answers a second of the clients that wait for each other, in this round."""
        (found,) = [
            record["per_second"]
            for record in self._journal.records
            if (record["kind"], record.get("candidate"), record.get("round")) == ("load", key, round_number)
            and (record["clients"], record["pictures"]) == (COMPARED_AT, PHOTOGRAPHS)
        ]
        if not found:
            raise CandidateError("It answered none of the requests that its throughput is measured with.")
        return float(found)

    def _wait_for_the_queue(self, target: Target) -> None:
        """Requests of clients that are gone are still worked on; that is no work of the next measurement."""
        send_picture(target, self._expected[0].picture)

    def _note_load(
        self, candidate: Candidate, key: str, load: Load, step: Step, round_number: int, server_cpu_s: dict[str, float]
    ) -> None:
        self._journal.add(
            "load", **_fields(candidate, key), pictures=step.pictures,
            round=round_number, clients=step.clients, ok=load.ok,
            failures=load.failures, per_second=load.per_second, server_cpu_s=server_cpu_s, **vars(load),
        )  # fmt: skip
        failed = f", {load.failures} failed" if load.failures else ""
        level = key.removeprefix(candidate.key).strip("/")
        say(
            f"  {level} {step.pictures}, {step.clients} clients: {load.per_second:.1f}/s, "
            f"p50 {load.p50_ms:.0f} ms, p99 {load.p99_ms:.0f} ms{failed}".replace("   ", "  ")
        )

    def _check(self, target: Target, server: RunningServer) -> None:
        """Wait until each reference picture is answered rightly."""
        if (ready := target.ready) is not None:
            _first_answer(lambda: send(target, "GET", ready, None, {}, POLL_TIMEOUT_S), server)
        for expected in self._expected:
            picture = expected.picture
            answer = _first_answer(lambda picture=picture: send_picture(target, picture), server)  # type: ignore[misc]
            if not expected.is_answered_by(answer.body):
                raise CandidateError(
                    f"Its answer lacks {' or '.join(expected.names)} (class {expected.class_id}): {answer.body[:300]!r}"
                )

    def _note_memory(self, candidate: Candidate, server: RunningServer, round_number: int, state: str) -> None:
        memory = server_process.memory(server.mark)
        self._journal.add(
            f"memory {state}", candidate=candidate.key, round=round_number, total_mb=memory.total_mb,
            processes=[list(process) for process in memory.processes],
        )  # fmt: skip

    def _needed_sets(self, key: str) -> set[str]:
        return {PHOTOGRAPHS, *(step.pictures for step in steps_of(key, self._options))}

    def _write_requests(self, name: str, target: Target) -> Path:
        directory = self._scratch / name.replace(" ", "-")
        shutil.rmtree(directory, ignore_errors=True)
        write_requests(directory, target, self._picture_sets[name].pictures)
        return directory

    def _is_done(self, candidate: Candidate, round_number: int) -> bool:
        keys = [key for _, key in measured_keys(candidate)]
        loads = all(
            self._journal.has("load", candidate=key, pictures=step.pictures, round=round_number, clients=step.clients)
            for key in keys
            for step in steps_of(key, self._options)
        )
        searched = [key for key in keys if self._options.wants_rates(key)]
        return (
            loads
            and ("rates" not in self._options.parts or all(self._rates.are_searched(k, round_number) for k in searched))
            and ("bursts" not in self._options.parts or all(self._rates.has_bursts(k, round_number) for k in searched))
        )


def _fields(candidate: Candidate, key: str) -> dict[str, Any]:
    """Whom a record is about."""
    return {
        "candidate": key, "server": candidate.key, "title": candidate.title, "ours": candidate.uses_our_engine,
        "device": candidate.device,
    }  # fmt: skip


def _first_answer(request: Callable[[], LocalReply | None], server: RunningServer) -> LocalReply:
    """The first answer with status 200. Raises CandidateError when the server ends or takes too long."""
    answer: LocalReply | None = None

    def is_answered() -> bool:
        nonlocal answer
        answer = request()
        return answer is not None and answer.status == 200

    def is_alive() -> bool:
        return answer is not None or bool(server_process.members(server.mark))

    if wait_until(is_answered, START_S, poll_s=POLL_S, while_alive=is_alive) and answer is not None:
        return answer
    what = "nothing" if answer is None else f"status {answer.status}: {answer.body[:200]!r}"
    raise CandidateError(f"It did not start to answer in time, last {what}; see {server.log.name}.")
