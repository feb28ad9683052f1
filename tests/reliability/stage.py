"""Where the rows of an experiment play: on stacks that several of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

from tests.reliability.under_load import UnderLoad, under_load

T = TypeVar("T")


class Stage:
    """One stack at a time: two would take each other's cores."""

    def __init__(self) -> None:
        self._kept: dict[Callable[..., object], Any] = {}
        self._open = ExitStack()

    def on(self, make: Callable[[], AbstractContextManager[T]]) -> T:
        """What ``make`` makes: the same for all rows in turn that ask for it, until one asks for something else."""
        if make not in self._kept:
            self.clear()
            self._kept[make] = self._open.enter_context(make())
        kept: T = self._kept[make]
        return kept

    def shared(self) -> UnderLoad:
        """The usual stack, for rows that leave it as it was."""
        return self.on(usual)

    def clear(self) -> None:
        """End what there is."""
        self._kept.clear()
        self._open.close()


def usual() -> AbstractContextManager[UnderLoad]:
    return under_load("--model-api")


@contextmanager
def opened() -> Iterator[Stage]:
    stage = Stage()
    try:
        yield stage
    finally:
        stage.clear()
