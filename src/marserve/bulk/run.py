"""A run: pieces to actors, what they have done to whoever waits."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from marserve.bulk.fit import Share
from marserve.bulk.pieces import Piece
from marserve.bulk.watch import Watch
from marserve.bulk.worker import Summary, Task, Worker
from marserve.errors import MarserveError

#: Pieces that an actor has with it: one at work, and one so that it need not wait.
IN_FLIGHT = 2
#: Seconds between two looks at whether the run is to stop.
POLL_S = 0.5


@dataclass
class Progress:
    """What has been done by now."""

    rows: int = 0
    pieces: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    #: By ``time.monotonic``: when the first piece was begun, start-up apart; None before.
    began: float | None = None

    @property
    def failed(self) -> int:
        return self.errors.total()

    def add(self, summary: Summary) -> None:
        if self.began is None:
            self.began = time.monotonic() - summary.seconds
        self.rows += summary.rows
        self.pieces += 1
        self.errors.update(summary.errors)

    def rate(self) -> float:
        """Rows a second, start-up apart."""
        elapsed = 0.0 if self.began is None else time.monotonic() - self.began
        return self.rows / elapsed if elapsed > 0 else 0.0


def describe(progress: Progress, left: int) -> str:
    """The rate, how long ``left`` more rows will take, and the errors by kind."""
    rate = progress.rate()
    if not rate:
        return "starting"
    errors = "".join(f", {count:,} {kind}" for kind, count in progress.errors.most_common())
    return f"{rate:,.0f}/s, {duration(left / rate)} left{errors}"


def duration(seconds: float) -> str:
    """Such as ``2 h 5 min``, ``3 min`` or ``20 s``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def classify_pieces(
    pieces: Sequence[Piece],
    task: Task,
    *,
    actors: int,
    actor: Share,
    show: Callable[[Progress], None],
    stop: threading.Event,
    watch: Watch,
) -> Progress:
    """Have ``pieces`` computed by ``actors`` of Ray, which is connected; each takes ``actor`` of its host.

    Ends early when ``stop`` is set. Raises MarserveError where not a picture but the run fails, or nothing gets done.
    """
    progress = Progress()
    done: queue.Queue[Summary | BaseException | None] = queue.Queue()
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
            break
        if isinstance(event, BaseException):
            raise _explained(event) from event
        progress.add(event)
        watch.finished(event.seconds)
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
    blocks = ray.data.from_items([{"piece": piece.as_json()} for piece in pieces], override_num_blocks=len(pieces))
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
        if isinstance(cause, MarserveError):
            return MarserveError(str(cause))
        cause = getattr(cause, "cause", None) or cause.__cause__
    return exc
