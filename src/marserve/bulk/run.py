"""A run: pieces to actors, what they have done to whoever waits."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from marserve.bulk.fit import Share
from marserve.bulk.missing import Missing
from marserve.bulk.pieces import Piece, as_json
from marserve.bulk.watch import Watch
from marserve.bulk.worker import RunFailedError, Summary, Task, Worker
from marserve.errors import MarserveError

#: Pieces that an actor has with it: one at work, and one so that it need not wait.
IN_FLIGHT = 2
#: Seconds between two looks at whether the run is to stop.
POLL_S = 0.5


@dataclass
class Progress:
    """What this run has done by now."""

    #: Pictures that are files of their own.
    files: int
    #: Bytes of the shards among the pieces.
    shard_bytes: Mapping[str, float] = field(default_factory=dict)
    #: By ``time.monotonic``: when the first piece was begun, start-up apart; None before.
    began: float | None = None
    #: When the last one was ended; None while the run goes on.
    ended: float | None = None
    _done: Counter[str] = field(default_factory=Counter)
    _errors: Counter[str] = field(default_factory=Counter)
    #: The latest of each piece that is at work.
    _at_work: dict[str, Summary] = field(default_factory=dict)
    #: Of shards, all by now.
    _shard_rows: int = 0
    _shard_bytes: float = 0.0

    def add(self, summary: Summary) -> float:
        """Answers the seconds since the one before of the same piece, or since that began."""
        if self.began is None:
            self.began = time.monotonic() - summary.seconds
        before = self._at_work.get(summary.piece)
        self._at_work[summary.piece] = summary
        if summary.done:
            del self._at_work[summary.piece]
            self._done["rows"] += summary.rows
            self._errors.update(summary.errors)
            if summary.piece in self.shard_bytes:
                self._shard_rows += summary.rows
                self._shard_bytes += self.shard_bytes[summary.piece]
        return summary.seconds - (0.0 if before is None else before.seconds)

    @property
    def rows(self) -> int:
        return self._done["rows"] + sum(summary.rows for summary in self._at_work.values())

    @property
    def errors(self) -> Counter[str]:
        """Rows with an error, by kind."""
        return sum((Counter(summary.errors) for summary in self._at_work.values()), Counter(self._errors))

    @property
    def total(self) -> int | None:
        """How many rows there will be: of shards an estimate, and None while nothing of them has been read."""
        if not self.shard_bytes:
            return self.files
        read = [(summary, self.shard_bytes.get(name, 0.0)) for name, summary in self._at_work.items()]
        rows = self._shard_rows + sum(summary.rows for summary, size in read if size)
        size_read = self._shard_bytes + sum(size * summary.share for summary, size in read)
        if not rows or not size_read:
            return None
        return self.files + round(rows / size_read * sum(self.shard_bytes.values()))

    def rate(self) -> float:
        """Rows a second, start-up apart."""
        elapsed = 0.0 if self.began is None else (self.ended or time.monotonic()) - self.began
        return self.rows / elapsed if elapsed > 0 else 0.0


def describe(progress: Progress) -> str:
    """The rate, how long what is left will take, and the errors by kind."""
    rate = progress.rate()
    if not rate:
        return "starting"
    errors = "".join(f", {count:,} {kind}" for kind, count in progress.errors.most_common())
    left = "" if progress.total is None else f", {duration((progress.total - progress.rows) / rate)} left"
    return f"{rate:,.0f}/s{left}{errors}"


def conclude(progress: Progress, known: int) -> str:
    """What a run has done, beside the rows ``known`` from before."""
    failed = progress.errors.total()
    before = f", {known:,} known from before" if known else ""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in progress.errors.most_common())
    classified = f"{progress.rows - failed:,} classified at {progress.rate():.1f}/s"
    return f"{classified}{before}, {failed:,} with an error{f' ({kinds})' if kinds else ''}"


def duration(seconds: float) -> str:
    """Such as ``2 h 5 min``, ``3 min`` or ``20 s``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def classify_pieces(
    missing: Missing,
    task: Task,
    *,
    actors: int,
    actor: Share,
    show: Callable[[Progress], None],
    stop: threading.Event,
    watch: Watch,
) -> Progress:
    """Have what is ``missing`` computed by ``actors`` of Ray, which is connected; each takes ``actor`` of its host.

    Ends early when ``stop`` is set. Raises MarserveError where not a picture but the run fails, or nothing gets done.
    """
    progress = Progress(missing.files, missing.shard_bytes)
    if not missing.pieces:
        return progress
    done: queue.Queue[Summary | BaseException | None] = queue.Queue()
    pieces = missing.pieces
    threading.Thread(
        target=_consume, args=(pieces, task, min(actors, len(pieces)), actor, done), daemon=True, name="ray"
    ).start()
    while not stop.is_set():
        watch.check()
        try:
            event = done.get(timeout=POLL_S)
        except queue.Empty:
            show(progress)
            continue
        if event is None:
            progress.ended = time.monotonic()
            break
        if isinstance(event, BaseException):
            raise _explained(event) from event
        watch.finished(progress.add(event))
        show(progress)
    return progress


def _consume(
    pieces: Sequence[Piece],
    task: Task,
    actors: int,
    actor: Share,
    done: queue.Queue[Summary | BaseException | None],
) -> None:
    try:
        for summary in _summaries(pieces, task, actors, actor):
            done.put(summary)
        done.put(None)
    except BaseException as exc:  # noqa: BLE001 - raised again where it is waited for
        done.put(exc)


def _summaries(pieces: Sequence[Piece], task: Task, actors: int, actor: Share) -> Iterator[Summary]:
    import ray.data

    # A block a piece, and a piece a call.
    blocks = ray.data.from_items([{"piece": as_json(piece)} for piece in pieces], override_num_blocks=len(pieces))
    # So small that each summary is a block, and comes when it is made.
    ray.data.DataContext.get_current().target_max_block_size = 1
    summaries = blocks.map_batches(
        Worker,
        fn_constructor_args=(task,),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=IN_FLIGHT),
        num_cpus=actor.cpus,
        num_gpus=actor.gpus,
        memory=actor.memory_bytes,
    )
    for row in summaries.iter_rows():
        yield Summary.from_json(row["summary"])


def _explained(exc: BaseException) -> BaseException:
    """What an actor raised for a person, out of what Ray wrapped it in."""
    cause: BaseException | None = exc
    while cause is not None:
        # What Ray wraps it in is an error of the same type.
        wrapped: BaseException | None = getattr(cause, "cause", None)
        if wrapped is None and isinstance(cause, RunFailedError):
            return MarserveError(cause.reason)
        cause = wrapped or cause.__cause__
    return exc
