"""A new version tried on live traffic: as a shadow, then as a canary in steps, until what they show decides.

The web service is told by a file that expires unless it is renewed every second (``marserve.web.rollout.files``): when
this process ends, however it ends, all live pictures are back with the stable version.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from marserve.client.errors import Refused
from marserve.errors import MarserveError
from marserve.manage.change import Change
from marserve.manage.verdict import Decision, Judge, Limits, Verdict, median
from marserve.paths import command
from marserve.system.files import failure_of
from marserve.system.waiting import wait_until
from marserve.terminal import Progress
from marserve.torchserve.models import ModelVersion
from marserve.web.rollout.files import LIFETIME_S, Mode, Order, Seen, seen_beside

#: The shares of a canary, from the one that it begins with.
STEPS = (0.05, 0.1, 0.25, 0.5, 1.0)
#: Seconds between two renewals of the order.
RENEW_S = 1.0
#: Seconds for the web service to follow an order: it reads it every second.
NOTICE_S = 20.0
POLL_S = 0.1


@dataclass(frozen=True)
class LivePlan:
    """How a version is tried on live traffic."""

    #: Share of the live pictures that are copied to it; None: no shadow.
    shadow: float | None
    #: Shares that it answers, one after the other; empty: no canary.
    canary: tuple[float, ...]
    limits: Limits
    #: Of each step of the canary: pictures, and seconds, at least.
    step_pictures: int
    step_s: float
    #: Seconds in which it must be decided.
    give_up_after_s: float


class TurnedDownError(MarserveError):
    """Live traffic has shown that the version is not as good, or not shown in time that it is."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict


def decide(change: Change, plan: LivePlan | None, stable: ModelVersion, new: ModelVersion) -> Verdict | None:
    """Return where ``new`` may become the default, with what live traffic has shown of it if ``plan`` says so.

    Raises TurnedDownError where it may not, and what ``confirm`` raises.
    """
    if plan is None:
        change.confirm(f"Make {new} the default in place of {stable.version}?")
        return None
    trial = _Trial(change, plan, stable, new)
    change.on_failure(f"sending all live pictures to {stable}", trial.withdraw)
    if plan.shadow is not None:
        change.report(f"{new} gets copies of {plan.shadow * 100:.3g} % of the live pictures ...")
        trial.run("shadow", plan.shadow, trial.may_have_more if plan.canary else trial.has_passed)
    if not plan.canary:
        trial.withdraw()
        verdict = trial.verdict("forward")
        change.report(str(verdict))
        change.confirm(f"Make {new} the default in place of {stable.version}?")
        return verdict
    first = f"{plan.canary[0] * 100:.3g} %"
    change.confirm(f"Have {new} answer {first} of the live pictures, then more, and make it the default if it passes?")
    for number, share in enumerate(plan.canary, 1):
        change.report(f"{new} answers {share * 100:.3g} % of the live pictures ...")
        trial.run("canary", share, trial.step_is_done(is_last=number == len(plan.canary)))
    trial.withdraw()
    verdict = trial.verdict("forward")
    change.report(str(verdict))
    return verdict


class _Trial:
    def __init__(self, change: Change, plan: LivePlan, stable: ModelVersion, new: ModelVersion) -> None:
        self._management = change.management
        self._file = change.stack.run_directory.rollout
        self._plan = plan
        self._stable = stable
        self._new = new
        self._id = secrets.token_hex(8)
        self._judge = Judge(plan.limits)
        self._began = self._seen_at = time.monotonic()

    def run(self, mode: Mode, share: float, is_done: Callable[[], bool]) -> None:
        """Have the web service give the version this share until ``is_done``. Raises TurnedDownError."""
        with Progress(f"{mode} {share * 100:.3g} %") as progress:
            while True:
                self._check_that_it_is_served()
                self._renew(mode, share)
                self._look()
                reason = self._reason()
                if reason is not None:
                    raise TurnedDownError(self.verdict("back", reason))
                if is_done():
                    return
                progress.update(self._state())
                time.sleep(RENEW_S)

    def has_passed(self) -> bool:
        return not self._undecided()

    def may_have_more(self) -> bool:
        """Whether it may have a larger share: rare failures take more pictures to show than answers and times do."""
        return not {"other answers", "time"} & {*self._undecided()}

    def step_is_done(self, *, is_last: bool) -> Callable[[], bool]:
        began, before = time.monotonic(), self._judge.answered + self._judge.failed

        def is_done() -> bool:
            enough = self._judge.answered + self._judge.failed - before >= self._plan.step_pictures
            long_enough = time.monotonic() - began >= self._plan.step_s
            return enough and long_enough and (self.has_passed() if is_last else self.may_have_more())

        return is_done

    def withdraw(self) -> None:
        """Return when all live pictures go to the stable version."""
        self._file.unlink(missing_ok=True)
        seen = seen_beside(self._file)

        def is_over() -> bool:
            said = Seen.read(seen)
            return said is None or said.order != self._id

        # By then the last order has expired.
        wait_until(is_over, LIFETIME_S, poll_s=POLL_S)
        seen.unlink(missing_ok=True)

    def verdict(self, decision: Decision, reason: str = "") -> Verdict:
        judge = self._judge
        return Verdict(
            model=self._new.model,
            version=self._new.version,
            decision=decision,
            reason=reason,
            seconds=round(time.monotonic() - self._began, 1),
            live=judge.live,
            answered=judge.answered,
            dropped=judge.dropped,
            findings=judge.findings(),
        )

    def _check_that_it_is_served(self) -> None:
        """A TorchServe that was started again serves what is on record, and not what is on trial."""
        try:
            self._management.describe(self._new.model, self._new.version)
        except Refused as exc:
            if exc.status != 404:
                raise
            raise MarserveError(
                f"TorchServe no longer has {self._new}, as after a restart; see {command('status')}."
            ) from exc

    def _renew(self, mode: Mode, share: float) -> None:
        order = Order(
            id=self._id,
            model=self._new.model,
            stable=self._stable.version,
            candidate=self._new.version,
            mode=mode,
            share=share,
            expires=time.monotonic() + LIFETIME_S,
        )
        try:
            order.write(self._file)
        except OSError as exc:
            raise MarserveError(failure_of(exc)) from exc

    def _look(self) -> None:
        seen = Seen.read(seen_beside(self._file))
        now = time.monotonic()
        if seen is not None and seen.order == self._id:
            self._judge.observe(seen)
            self._seen_at = now
        elif now - self._seen_at > NOTICE_S:
            raise MarserveError(
                f"For {NOTICE_S:.0f} s the web service has not said that {self._new} gets live pictures; see "
                + command("logs")
            )

    def _undecided(self) -> list[str]:
        return [one.name for one in self._judge.findings() if one.state == "undecided"]

    def _reason(self) -> str | None:
        """Why it is over; None: it is not."""
        failed = [one.name for one in self._judge.findings() if one.state == "failed"]
        if failed:
            return ", ".join(failed)
        if time.monotonic() - self._began <= self._plan.give_up_after_s:
            return None
        if not self._judge.live:
            return f"no live picture came in {self._plan.give_up_after_s:.0f} s"
        undecided = ", ".join(self._undecided()) or "the steps"
        return f"undecided after {self._plan.give_up_after_s:.0f} s: {undecided}"

    def _state(self) -> str:
        judge = self._judge
        if not judge.live:
            return "no live picture yet"
        times = f", {median(judge.ratios)[0]:.2f} times as long" if judge.ratios else ""
        waits_for = ", ".join(self._undecided())
        return (
            f"{judge.answered:,} answered, {judge.failed} failed, {judge.disagreed} of {judge.compared:,} differ{times}"
            f"{f'; open: {waits_for}' if waits_for else ''}"
        )
