"""A deployment that live traffic decides: its steps, its ends, and that the web service is left as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pytest

from marserve.client.errors import Refused
from marserve.errors import MarserveError, StopRequestedError
from marserve.manage import draining, rollout
from marserve.manage.change import DeclinedError, always_yes
from marserve.manage.deployment import Deployed, Plan, deploy
from marserve.manage.rollout import LivePlan, TurnedDownError
from marserve.manage.settling import changing
from marserve.manage.verdict import Limits
from marserve.system import processes
from marserve.system.files import locked
from marserve.torchserve.models import ModelVersion
from marserve.web.rollout import files
from marserve.web.rollout.files import Counts, Order, Seen, seen_beside
from tests.unit.manage.fake_stack import MODEL, FakeStack
from tests.unit.manage.test_way_back import an_archive

LIMITS = Limits(max_disagreement=0.01, max_latency_ratio=1.25, max_error_rate=0.01, max_ended_workers=1)
CANARY = LivePlan(None, (0.1, 0.5, 1.0), LIMITS, step_pictures=100, step_s=10, give_up_after_s=3600)
SHADOW = replace(CANARY, shadow=0.2, canary=())
BOTH = replace(CANARY, shadow=0.2)


@dataclass
class FakeWeb:
    """The clock and the web service: a second passes, and a hundred live pictures with it."""

    file: Path
    now: float = 1000.0
    live_per_s: int = 100
    #: What is wrong with the candidate: of its pictures, one in so many.
    differs_in: int = 0
    fails_in: int = 0
    ratio: float = 1.0
    is_deaf: bool = False
    orders: list[Order] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    at_tick: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.at_tick()
        order = Order.read(self.file)
        if order is None or self.is_deaf:
            Seen(instance="a", order=None, counts=self.counts).write(seen_beside(self.file))
            return
        assert order.expires > self.now
        self.orders.append(order)
        counts, got = self.counts, int(self.live_per_s * order.share)
        counts.live += self.live_per_s
        failed = (counts.answered + got) // self.fails_in - counts.failures if self.fails_in else 0
        counts.failed["failed"] = counts.failures + failed
        counts.answered += got - failed
        compared = min(got, 10)
        counts.disagreed += self.differs_in and (counts.compared + compared) // self.differs_in - counts.disagreed
        counts.compared += compared
        counts.pairs += [(1000, round(1000 * self.ratio))] * (compared // 3)
        Seen(instance="a", order=order.id, counts=counts).write(seen_beside(self.file))

    def told(self) -> list[tuple[str, float]]:
        """Modes and shares, each once."""
        return list(dict.fromkeys((order.mode, order.share) for order in self.orders))


@pytest.fixture
def stack(tmp_path: Path) -> FakeStack:
    return FakeStack.made_in(tmp_path)


@pytest.fixture
def web(stack: FakeStack, monkeypatch: pytest.MonkeyPatch) -> FakeWeb:
    web = FakeWeb(stack.run_directory.rollout)
    monkeypatch.setattr(rollout, "time", web)
    monkeypatch.setattr(draining, "POLL_S", 0.0)

    def wait_until(condition: Callable[[], bool], deadline_s: float, *, poll_s: float) -> bool:
        give_up = web.now + deadline_s
        while not (met := condition()) and web.now < give_up:
            web.sleep(poll_s)
        return met

    monkeypatch.setattr(rollout, "wait_until", wait_until)
    return web


def run(
    stack: FakeStack, archive: Path, live: LivePlan, confirm: Callable[[str], None] = always_yes
) -> tuple[Deployed, list[str]]:
    said: list[str] = []
    plan = Plan(MODEL, archive, "2.0", [archive], 0.9, None, remove_old=False, force=True, live=live)
    with changing(stack, confirm=confirm, report=said.append) as change:
        return deploy(change, plan), said


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return an_archive(tmp_path, "2.0")


def test_a_good_canary_takes_every_step_and_becomes_the_default(stack: FakeStack, web: FakeWeb, archive: Path) -> None:
    done, said = run(stack, archive, CANARY)
    assert stack.torchserve.default == "2.0"
    assert web.told() == [("canary", 0.1), ("canary", 0.5), ("canary", 1.0)]
    assert len({order.id for order in web.orders}) == 1
    for share in (0.1, 0.5, 1.0):
        assert sum(order.share == share for order in web.orders) >= 10, "seconds of each step"
    assert done.verdict is not None
    assert (done.verdict.decision, {one.state for one in done.verdict.findings}) == ("forward", {"passed"})
    assert any("passes" in line for line in said)
    assert not web.file.exists()
    assert not seen_beside(web.file).exists()


def test_a_restart_of_torchserve_ends_the_trial_at_once(
    stack: FakeStack, web: FakeWeb, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back with what is on record: nothing would be decided any more, for as long as an hour."""
    real = stack.torchserve.describe

    def describe(model: str, version: str | None = None) -> ModelVersion:
        if version == "2.0" and web.now > 1005:
            raise Refused("Model version: 2.0 does not exist", status=404)
        return real(model, version)

    monkeypatch.setattr(stack.torchserve, "describe", describe)
    with pytest.raises(MarserveError, match=r"no longer has resnet18 2\.0"):
        run(stack, archive, CANARY)
    assert web.now < 1020
    assert not web.file.exists()
    assert stack.torchserve.default == "1.0"


@pytest.mark.parametrize("live", [CANARY, SHADOW, BOTH], ids=["canary", "shadow", "both"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [({"differs_in": 50}, "other answers"), ({"ratio": 1.5}, "time"), ({"fails_in": 50}, "failures")],
)
def test_a_bad_version_goes_back_by_itself(
    stack: FakeStack, web: FakeWeb, archive: Path, live: LivePlan, fault: dict[str, float], reason: str
) -> None:
    before = stack.snapshot
    for name, value in fault.items():
        setattr(web, name, value)
    with pytest.raises(TurnedDownError, match=f"goes back: {reason}") as turned_down:
        run(stack, archive, live)
    verdict = turned_down.value.verdict
    assert (verdict.decision, verdict.reason) == ("back", reason)
    assert {one.name for one in verdict.findings if one.state == "failed"} == {reason}
    assert stack.snapshot == before
    assert not web.file.exists()


def test_a_shadow_alone_ends_with_a_verdict_and_a_question(stack: FakeStack, web: FakeWeb, archive: Path) -> None:
    asked: list[str] = []

    def decline(question: str) -> None:
        asked.append(question)
        raise DeclinedError("Nothing was changed.")

    with pytest.raises(DeclinedError):
        run(stack, archive, SHADOW, decline)
    assert asked == ["Make resnet18 2.0 the default in place of 1.0?"]
    assert web.told() == [("shadow", 0.2)]
    assert stack.torchserve.default == "1.0"
    run(stack, archive, SHADOW)
    assert stack.torchserve.default == "2.0"


def test_consent_comes_before_the_first_caller_is_answered(stack: FakeStack, web: FakeWeb, archive: Path) -> None:
    asked: list[tuple[str, int]] = []
    run(stack, archive, BOTH, lambda question: asked.append((question, len(web.orders))))
    ((question, orders),) = asked
    assert question.startswith("Have resnet18 2.0 answer 10 % of the live pictures")
    assert {order.mode for order in web.orders[:orders]} == {"shadow"}
    assert [mode for mode, _ in web.told()] == ["shadow", "canary", "canary", "canary"]


@pytest.mark.parametrize(
    ("live_per_s", "reason"), [(0, "no live picture came in 300 s"), (1, "undecided after 300 s: other answers")]
)
def test_one_that_sees_too_little_says_so_and_does_not_go_on_for_ever(
    stack: FakeStack, web: FakeWeb, archive: Path, live_per_s: int, reason: str
) -> None:
    web.live_per_s = live_per_s
    before = stack.snapshot
    with pytest.raises(TurnedDownError, match=reason):
        run(stack, archive, replace(CANARY, give_up_after_s=300, step_pictures=1))
    assert stack.snapshot == before
    assert web.now < 1000 + 300 + 20


def test_a_web_service_that_does_not_follow_is_an_error(stack: FakeStack, web: FakeWeb, archive: Path) -> None:
    web.is_deaf = True
    before = stack.snapshot
    with pytest.raises(MarserveError, match="has not said that resnet18"):
        run(stack, archive, CANARY)
    assert stack.snapshot == before


def test_ctrl_c_brings_all_live_pictures_back_before_the_version_goes(
    stack: FakeStack, web: FakeWeb, archive: Path
) -> None:
    before = stack.snapshot

    def interrupt() -> None:
        if len(web.orders) == 15 and web.file.exists():
            raise StopRequestedError(2)

    web.at_tick = interrupt
    with pytest.raises(StopRequestedError):
        run(stack, archive, CANARY)
    assert stack.snapshot == before
    assert not web.file.exists()
    assert web.now < 1030, "the web service said at once that it is over"


def test_who_waits_for_a_canary_is_told_whose_it_is_and_how_to_end_it(
    stack: FakeStack,
    web: FakeWeb,
    archive: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And once it has ended nobody is told to end what has its process id by then."""
    refused: list[str] = []

    def ask() -> None:
        if web.orders and web.orders[-1].share == 0.5 and not refused:
            with pytest.raises(MarserveError) as caught, changing(stack, confirm=always_yes, report=print, lock_s=0.01):
                pass
            refused.append(str(caught.value))

    web.at_tick = ask
    monkeypatch.setattr(files, "time", web)
    run(stack, archive, CANARY)
    doing = "deployment of resnet18 2.0, 2.0 on trial as canary with 50 % of the live pictures"
    expected = (
        f"another command that changes this stack ({doing}): process {os.getpid()}, and `kill {os.getpid()}` ends it"
    )
    assert expected in capsys.readouterr().err
    assert expected in refused[0]

    lock = stack.run_directory.change_lock
    lock.write_text(json.dumps(asdict(replace(processes.record("command", os.getpid()), created=1.0))))
    with (
        locked(lock),
        pytest.raises(MarserveError) as caught,
        changing(stack, confirm=always_yes, report=print, lock_s=0.01),
    ):
        pass
    assert "kill" not in str(caught.value)


def test_nobody_is_told_to_end_the_supervisor(stack: FakeStack) -> None:
    with changing(stack, confirm=always_yes, report=print, lock_s=0.0), pytest.raises(MarserveError) as caught:
        changing(stack, confirm=always_yes, report=print, lock_s=0.01).__enter__()
    assert "kill" not in str(caught.value)
