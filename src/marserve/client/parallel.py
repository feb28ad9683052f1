"""Calling a function for many things at once, without holding more of them than that takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

Thing = TypeVar("Thing")
Result = TypeVar("Result")


def run_in_parallel(
    function: Callable[[Thing], Result], things: Iterable[Thing], *, parallel: int, in_order: bool
) -> Generator[tuple[Thing, Result], None, None]:
    """Each of ``things`` with its result, ``parallel`` at work at once; as they are ready unless ``in_order``.

    At most ``2 × parallel`` are taken from ``things`` before the first of them is handed out. When the caller stops
    early, what is at work is awaited, and nothing more is begun.
    """
    executor = ThreadPoolExecutor(parallel, thread_name_prefix="client")
    source = iter(things)
    # In order the next to hand out is the oldest; else each announces itself when it is done.
    waiting: deque[tuple[Thing, Future[Result]]] = deque()
    done: SimpleQueue[tuple[Thing, Future[Result]]] = SimpleQueue()
    at_work = 0
    try:
        while True:
            for thing in source:
                future = executor.submit(function, thing)
                at_work += 1
                if in_order:
                    waiting.append((thing, future))
                else:
                    future.add_done_callback(lambda ready, thing=thing: done.put((thing, ready)))  # type: ignore[misc]
                if at_work >= 2 * parallel:
                    break
            if not at_work:
                return
            thing, future = waiting.popleft() if in_order else done.get()
            result = future.result()
            at_work -= 1
            yield thing, result
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
