"""What becomes of an error that an actor raises."""

from __future__ import annotations

import pickle  # nosec B403 # of what the test itself has made

import pytest
from ray.data._internal.util import iterate_with_retry
from ray.exceptions import RayTaskError

from marserve.bulk.run import _explained
from marserve.bulk.worker import RunFailedError
from marserve.errors import MarserveError


def as_ray_hands_it_on(error: Exception) -> BaseException:
    """An error of an actor's task as the driver gets it."""

    def fail() -> list[int]:
        raise error

    # It appends a text of its own.
    with pytest.raises(type(error), match="Failed to apply UDF transform") as raises:
        list(iterate_with_retry(fail, "apply UDF transform", max_attempts=1))
    raised = pickle.loads(pickle.dumps(raises.value))  # noqa: S301
    wrapped = RayTaskError("Worker", "Traceback", raised, proctitle="ray::Worker", pid=1, ip="198.18.0.1")  # type: ignore[no-untyped-call]
    found: BaseException = wrapped.as_instanceof_cause()  # type: ignore[no-untyped-call]
    assert isinstance(found, type(error))
    assert str(found) == "Traceback"
    return found


def test_its_message_comes_without_traceback() -> None:
    error = RunFailedError("The disk is full.")
    outer = ValueError("of Ray's own")
    outer.__cause__ = as_ray_hands_it_on(error)
    for raised in (as_ray_hands_it_on(error), outer):
        explained = _explained(raised)
        assert (type(explained), str(explained)) == (MarserveError, "The disk is full.")


def test_a_fault_keeps_its_traceback() -> None:
    fault = as_ray_hands_it_on(ZeroDivisionError("division by zero"))
    assert _explained(fault) is fault
