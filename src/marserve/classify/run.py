"""Many picture files, classified: results as they come, failures reported, stopped when nothing more can succeed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import takewhile
from types import FrameType

from marserve.client.errors import ServerOverloaded, Unreachable
from marserve.client.inference import Classification, InferenceClient
from marserve.pictures import PictureFile
from marserve.terminal import complain, counted

#: Statuses after which the next picture will fare no better: no API key, or nothing at this address.
HOPELESS = frozenset({401, 404, 405})
#: What to know about labels, by the weights that gave them.
WARNINGS = {
    "untrained": "{model} has untrained weights: its labels are random and mean nothing.",
    "demonstration": "{model} is the demonstration model: it answers where the weights of ResNet18 are missing.",
}


@dataclass
class Outcome:
    succeeded: int = 0
    failed: int = 0
    #: Never sent, since the run ended before.
    left: int = 0
    #: Why it ended before, for a person; None where it came to its end.
    stopped: str | None = None


def classify_files(
    client: InferenceClient,
    pictures: Sequence[PictureFile],
    write: Callable[[PictureFile, Classification], None],
    *,
    top_k: int,
    parallel: int,
    in_order: bool,
    show_progress: bool,
    stop: threading.Event,
    least: float = 0.0,
) -> Outcome:
    """Send each of ``pictures`` once; failures go to standard error, a line each. Closes ``client``.

    Classes less probable than ``least`` are left out.

    When ``stop`` is set no more pictures are sent, and the answers to those at work are still written.
    """
    outcome = Outcome()
    warned: set[tuple[str, str | None]] = set()
    source = takewhile(lambda _: not stop.is_set(), pictures)
    answers = client.classify_many(source, top_k=top_k, parallel=parallel, in_order=in_order)
    try:
        with counted("Classifying", "pictures") if show_progress else nullcontext(lambda *_: None) as show:
            for picture, answer in answers:
                if isinstance(answer, Classification):
                    if answer.weights in WARNINGS and (answer.model, answer.weights) not in warned:
                        warned.add((answer.model, answer.weights))
                        complain(WARNINGS[answer.weights].format(model=answer.model))
                    probable = tuple(one for one in answer.predictions if one.probability >= least)
                    write(picture, replace(answer, predictions=probable))
                    outcome.succeeded += 1
                elif stop.is_set() and isinstance(answer, ServerOverloaded | Unreachable):
                    continue  # it would have been sent again
                else:
                    outcome.failed += 1
                    if isinstance(answer, Unreachable) or answer.status in HOPELESS:
                        outcome.stopped = answer.message
                        break
                    name = picture.path.encode("utf-8", "backslashreplace").decode()
                    complain(f"{name}: {answer.message} ({answer.type})")
                show(outcome.succeeded + outcome.failed, len(pictures))
    finally:
        client.close()  # whoever waits to send again stops waiting
        answers.close()
    if stop.is_set():
        outcome.stopped = "Interrupted."
    outcome.left = len(pictures) - outcome.succeeded - outcome.failed
    return outcome


@contextmanager
def stop_on_signals(on_stop: Callable[[], None]) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, after which ``on_stop`` is called.

    The second raises KeyboardInterrupt.
    """
    stop = threading.Event()

    def receive(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        on_stop()

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
