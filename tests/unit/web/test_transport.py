"""Bodies in crumbs: their senders wait for each other, nobody else does, and nothing of them is lost."""

from __future__ import annotations

import asyncio

import pytest

from marserve.web import transport
from marserve.web.transport import CRUMBS, CRUMBS_SHARE, CrumbsBudget, HeldFlowControl
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service

pytestmark = pytest.mark.anyio

LAST = b"GET /healthz HTTP/1.0\r\n\r\n"
HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Wire(asyncio.Transport):
    """Notes whether it is read."""

    is_read = True
    has_ended = False

    def pause_reading(self) -> None:
        assert self.is_read
        self.is_read = False

    def resume_reading(self) -> None:
        assert not self.is_read
        assert not self.has_ended
        self.is_read = True

    def is_closing(self) -> bool:
        return self.has_ended


def test_all_crumbs_together_take_their_share_of_the_loop_and_no_more() -> None:
    now_s = 100.0
    budget = CrumbsBudget(lambda: now_s)
    assert budget.pause_s(0.02) == pytest.approx(0.02 * CRUMBS_SHARE)
    assert budget.pause_s(0.03) == pytest.approx(0.05 * CRUMBS_SHARE), "the second one waits for the first, too"
    now_s += 1.0
    assert budget.pause_s(0.02) == pytest.approx(0.02 * CRUMBS_SHARE), "nothing is owed for what is over"


async def test_a_held_connection_is_read_again_when_its_time_is_over() -> None:
    wire = Wire()
    flow = HeldFlowControl(wire)
    flow.hold(0.01)
    assert not wire.is_read
    flow.hold(0.02)
    await asyncio.sleep(0.1)
    assert wire.is_read


async def test_a_held_connection_is_not_read_because_a_body_is_asked_for() -> None:
    wire = Wire()
    flow = HeldFlowControl(wire)
    flow.pause_reading()
    flow.hold(0.01)
    flow.resume_reading()
    assert not wire.is_read
    await asyncio.sleep(0.1)
    assert wire.is_read


async def test_a_full_body_stays_unread_when_the_time_is_over() -> None:
    wire = Wire()
    flow = HeldFlowControl(wire)
    flow.hold(0.01)
    flow.pause_reading()
    await asyncio.sleep(0.1)
    assert not wire.is_read
    flow.resume_reading()
    assert wire.is_read


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_connection_that_has_ended_is_left_alone(is_told: bool) -> None:
    wire = Wire()
    flow = HeldFlowControl(wire)
    flow.hold(0.01)
    wire.has_ended = True
    if is_told:
        flow.forget()
    flow.hold(0.01)
    await asyncio.sleep(0.1)
    assert not wire.is_read


async def test_senders_of_crumbs_are_held_and_lose_nothing(
    service: Service, torchserve: FakeTorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    hold = HeldFlowControl.hold

    def counted(flow: HeldFlowControl, pause_s: float) -> None:
        pauses.append(pause_s)
        hold(flow, pause_s)

    monkeypatch.setattr(transport.HeldFlowControl, "hold", counted)
    picture = bytes(range(256)) * 100
    crumbs = b"".join(b"1\r\n%c\r\n" % byte for byte in picture)
    ends = [b"1\r\n%c\r\n0\r\n\r\n" % end + LAST for end in b"abc"]
    answers = await asyncio.gather(*(service.talk(HEAD, crumbs, end) for end in ends))
    assert all(answer.count(b"HTTP/1.1 200") == 2 for answer in answers)
    assert sorted(torchserve.pictures) == [picture + b"%c" % end for end in b"abc"]
    assert min(pauses) > 0
    pauses.clear()
    chunks = b"".join(b"400\r\n%b\r\n" % picture[:1024] for _ in range(CRUMBS // 2))
    assert b"HTTP/1.1 200" in await service.talk(HEAD, chunks, b"0\r\n\r\n" + LAST)
    assert pauses == [], "a kilobyte is no crumb"
