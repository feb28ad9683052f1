"""Asking about many picture files: results as they come, failures told, stopped when nothing more can succeed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from tqdm import tqdm

from marserve.client.errors import ClientError, ServerOverloaded, Unreachable
from marserve.client.inference import InferenceClient
from marserve.client.parallel import run_in_parallel
from marserve.client.predictions import Classification
from marserve.pictures import PictureFile

#: Statuses after which the next picture will fare no better: no API key, or nothing at this address.
HOPELESS = frozenset({401, 404, 405})

#: Takes each result.
Write = Callable[[PictureFile, Classification], None]


@dataclass
class Outcome:
    """How a run went."""

    succeeded: int = 0
    failed: int = 0
    #: Never asked, since the run ended before.
    left: int = 0
    #: Why it ended before, for a person; None where it came to its end.
    stopped: str | None = None


def classify_files(
    client: InferenceClient,
    pictures: Sequence[PictureFile],
    write: Write,
    *,
    top_k: int,
    parallel: int,
    in_order: bool,
    show_progress: bool,
    stop: threading.Event,
) -> Outcome:
    """Ask about each of ``pictures`` once; failures go to standard error, a line each. Closes ``client``.

    When ``stop`` is set no more pictures are asked about, and the answers to those at work are still written.
    """
    outcome = Outcome()

    def ask(picture: PictureFile) -> Classification | ClientError:
        try:
            return client.classify(Path(picture.path), top_k=top_k)
        except ClientError as exc:
            return exc

    source = takewhile(lambda _: not stop.is_set(), pictures)
    answers = run_in_parallel(ask, source, parallel=parallel, in_order=in_order)
    progress = tqdm(total=len(pictures), unit="picture", disable=not show_progress, file=sys.stderr, dynamic_ncols=True)
    try:
        with progress:
            for picture, answer in answers:
                if isinstance(answer, Classification):
                    write(picture, answer)
                    outcome.succeeded += 1
                elif stop.is_set() and isinstance(answer, ServerOverloaded | Unreachable):
                    continue  # it would have been asked again
                else:
                    outcome.failed += 1
                    name = picture.path.encode("utf-8", "backslashreplace").decode()
                    progress.write(f"{name}: {answer.message} ({answer.type})", file=sys.stderr)
                    if isinstance(answer, Unreachable) or answer.status in HOPELESS:
                        outcome.stopped = answer.message
                        break
                progress.update()
    finally:
        client.close()  # whoever waits to ask again stops waiting
        answers.close()
    if stop.is_set():
        outcome.stopped = "Interrupted."
    outcome.left = len(pictures) - outcome.succeeded - outcome.failed
    return outcome
