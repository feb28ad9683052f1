"""Identical requests at the same time cause one computation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Coalescing(Generic[Result]):
    """Runs one computation a key. It belongs to nobody: whoever waits for it may leave without harm to the others."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Result]] = {}

    def is_running(self, key: str) -> bool:
        """Whether ``run`` would join others."""
        return key in self._running

    async def run(self, key: str, compute: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result, or the exception, of the computation of ``key`` that is running, or else of ``compute``."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(compute())
            self._running[key] = task
            task.add_done_callback(lambda done: self._finish(key, done))
        # Unlike awaiting the task, this does not cancel it where the waiting is cancelled.
        await asyncio.wait([task])
        return task.result()

    def _finish(self, key: str, task: asyncio.Task[Result]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits any more
