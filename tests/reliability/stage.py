"""Where the rows of an experiment play: a stack that several share, or one of a row's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

from tests.e2e.serving import Stack
from tests.reliability.crowd import REPEATING
from tests.reliability.under_load import UnderLoad, under_load


class Stage:
    """One stack at a time: two would take each other's cores."""

    def __init__(self) -> None:
        self._shared: UnderLoad | None = None
        self._open = ExitStack()

    def shared(self) -> UnderLoad:
        """The stack that rows share which leave it as it was."""
        if self._shared is None:
            self._shared = self._open.enter_context(under_load("--model-api"))
        return self._shared

    def own(
        self,
        *arguments: str,
        stack: Stack | None = None,
        repeating: int = REPEATING,
        variables: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[UnderLoad]:
        """A stack that is started otherwise, or that nobody is to use afterwards."""
        self.close()
        return under_load(*arguments, stack=stack, repeating=repeating, variables=variables)

    def close(self) -> None:
        self._shared = None
        self._open.close()


@contextmanager
def opened() -> Iterator[Stage]:
    stage = Stage()
    try:
        yield stage
    finally:
        stage.close()
