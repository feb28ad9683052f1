"""What a request's headers say of its time."""

from __future__ import annotations

import time

import pytest
from starlette.datastructures import Headers

from marserve.handler.resnet18.errors import InvalidParameter
from marserve.web.dispatch.urgency import read_urgency
from marserve.web.settings import WebSettings

SETTINGS = WebSettings(request_deadline_s=10)


def read(**headers: str) -> tuple[float, bool]:
    """Seconds that are left, and whether it is bulk."""
    named = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    urgency = read_urgency(named, "somebody", SETTINGS)
    return urgency.give_up - time.monotonic(), urgency.is_bulk


@pytest.mark.parametrize(("timeout_ms", "seconds"), [("1", 0.001), ("2500", 2.5), ("10000", 10), ("999999999999", 10)])
def test_a_caller_can_give_less_time_and_never_more(timeout_ms: str, seconds: float) -> None:
    left, _ = read(X_Request_Timeout_Ms=timeout_ms)
    assert left == pytest.approx(seconds, abs=0.5)
    assert left <= seconds


def test_without_headers_it_is_interactive_and_has_the_operators_time() -> None:
    left, is_bulk = read()
    assert left == pytest.approx(10, abs=0.5)
    assert not is_bulk


@pytest.mark.parametrize(("priority", "is_bulk"), [("bulk", True), ("interactive", False)])
def test_priority_is_read(priority: str, is_bulk: bool) -> None:
    assert read(X_Priority=priority)[1] is is_bulk


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "1e3", " 5", "5s", "²", "1" * 13])
def test_a_time_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(InvalidParameter, match="X-Request-Timeout-Ms must be a whole number of milliseconds"):
        read(X_Request_Timeout_Ms=value)


@pytest.mark.parametrize("value", ["", "Bulk", "high", "1"])
def test_an_unknown_priority_is_refused(value: str) -> None:
    with pytest.raises(InvalidParameter, match="X-Priority must be one of interactive and bulk"):
        read(X_Priority=value)
