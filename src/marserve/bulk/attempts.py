"""A picture that ends the process that reads it: found, and given a row with an error.

Ray starts such an actor again and gives it the same piece, for ever. So an actor writes down that it has begun a piece,
in a store that outlives it. Who takes up a piece that was begun before goes picture by picture, and writes down which.
"""

from __future__ import annotations

import faulthandler
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from marserve.handler.resnet18.errors import RequestError

#: How often a process has ended with a picture before that is left out: once may be a host that was lost.
DEADLY = 2
#: Seconds for the pictures of one batch, after which the process ends itself: a decoder or the network hangs.
LONGEST_BATCH_S = 300.0


class DeadlyPicture(RequestError):  # noqa: N818 - beside InvalidImage in the column of errors
    """The process that reads it ends, again and again."""

    def __init__(self) -> None:
        super().__init__(f"{DEADLY} processes have ended, or hung, while they classified this picture alone.")


class Store(Protocol):
    """Texts by names, which outlive whoever writes them."""

    def get(self, key: str) -> str | None: ...

    def put(self, key: str, value: str) -> None: ...

    def delete(self, key: str) -> None: ...


class RayStore:
    """That of Ray's head, with which a run ends anyway."""

    def __init__(self) -> None:
        import ray

        self._prefix = f"marserve-bulk:{ray.get_runtime_context().get_job_id()}:"

    def get(self, key: str) -> str | None:
        from ray.experimental.internal_kv import _internal_kv_get

        value = _internal_kv_get(self._prefix + key)
        return None if value is None else value.decode()

    def put(self, key: str, value: str) -> None:
        from ray.experimental.internal_kv import _internal_kv_put

        _internal_kv_put(self._prefix + key, value, overwrite=True)

    def delete(self, key: str) -> None:
        from ray.experimental.internal_kv import _internal_kv_del

        _internal_kv_del(self._prefix + key)


class Attempt:
    """One actor's way through a piece."""

    def __init__(self, store: Store, piece: str) -> None:
        self._store = store
        self._piece = piece
        before = store.get(piece)
        #: Whether nobody has begun the piece before and not ended it.
        self.is_first = before is None
        self._deaths: Counter[int] = Counter()
        if before is not None:
            known = json.loads(before)
            self._deaths.update({int(place): count for place, count in known["deaths"].items()})
            if known["at"] is not None:
                self._deaths[known["at"]] += 1
        self._write(None)

    @contextmanager
    def at(self, place: int) -> Iterator[bool]:
        """Around the classification of a batch whose first picture is the ``place``-th: whether it may be tried.

        After a first attempt a batch has one picture.
        """
        is_deadly = self._deaths[place] >= DEADLY
        if not (self.is_first or is_deadly):
            self._write(place)
        faulthandler.dump_traceback_later(LONGEST_BATCH_S, exit=True, file=2)
        try:
            yield not is_deadly
        finally:
            faulthandler.cancel_dump_traceback_later()

    def end(self) -> None:
        """The piece is written, or will not be."""
        self._store.delete(self._piece)

    def _write(self, place: int | None) -> None:
        self._store.put(self._piece, json.dumps({"at": place, "deaths": self._deaths}))
