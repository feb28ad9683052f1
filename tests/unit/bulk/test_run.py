"""What becomes of an error that an actor raises."""

from __future__ import annotations

import pytest
from ray.exceptions import RayTaskError

from marserve.bulk.run import _explained
from marserve.bulk.watch import StalledError
from marserve.errors import MarserveError


def as_ray_hands_it_on(error: BaseException) -> BaseException:
    """An error of an actor's task as the driver gets it."""
    wrapped = RayTaskError("Worker", "Traceback", error, proctitle="ray::Worker", pid=1, ip="198.18.0.1")
    found: BaseException = wrapped.as_instanceof_cause()
    assert str(found) == "Traceback"
    return found


@pytest.mark.parametrize("error", [MarserveError("The disk is full."), StalledError("Nothing is done.")])
def test_its_message_comes_without_traceback(error: MarserveError) -> None:
    assert _explained(as_ray_hands_it_on(error)) is error
    outer = ValueError("of Ray's own")
    outer.__cause__ = as_ray_hands_it_on(error)
    assert _explained(outer) is error


def test_a_fault_keeps_its_traceback() -> None:
    fault = as_ray_hands_it_on(ZeroDivisionError("division by zero"))
    assert _explained(fault) is fault
