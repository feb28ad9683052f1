"""What the autoscaler holds to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

#: Has the key with which the autoscaler's process reads the web service's metrics: arguments are seen by all users.
API_KEY_VARIABLE = "MARSERVE_AUTOSCALE_API_KEY"


@dataclass(frozen=True)
class Rules:
    """The numbers behind its decisions; docs/autoscaling.md gives the reason for each default."""

    minimum: int
    maximum: int
    #: Mean seconds that a request may wait for a worker.
    target_wait_s: float = 0.1
    #: Seconds for which it must have waited longer before workers are added. Short: whoever waits, waits now.
    up_after_s: float = 2.0
    #: Seconds of quiet before a worker is taken away, counted from the last change. Long: a worker that is idle costs
    #: memory, one that is missing costs every request.
    down_after_s: float = 60.0
    #: Share of the workers that may be at work, by the demand, after some were added.
    planned_busy: float = 0.85
    #: Share that may be at work in the busiest part of the quiet time after one was taken away. Less than
    #: ``planned_busy``, or workers would come and go by turns.
    quiet_busy: float = 0.75
    #: Share of ``target_wait_s`` below which it is quiet.
    quiet_wait: float = 0.5
    #: Workers are at most multiplied by this in one step: what a burst needs is known only roughly at its beginning.
    largest_step: float = 4.0
    #: Seconds that new workers have to become ready before decisions go on without them.
    start_s: float = 30.0

    def __str__(self) -> str:
        wait = f"waiting {self.target_wait_s * 1000:g} ms at most"
        return f"{self.minimum}..{self.maximum}, {wait}, quiet for {self.down_after_s:g} s"

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise ValueError(f"{self.minimum}..{self.maximum} workers: give 1 or more, and no less at the end.")
        if self.target_wait_s <= 0:
            raise ValueError(f"{self.target_wait_s} s is no target for a wait: give a positive time, such as 0.1.")


@dataclass(frozen=True)
class Assignment:
    """What the autoscaler's process is started with, as one argument."""

    models: Sequence[str]
    rules: Rules
    #: Inference threads of each worker.
    threads: int
    management_port: int
    metrics_port: int
    #: Where the web service answers.
    web_host: str
    web_port: int
    #: TorchServe's tokens, and the lock that is held while the stack is being changed.
    key_file: str
    change_lock: str
    #: The web service's certificate; None where it speaks HTTP.
    web_certificate: str | None = None

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Assignment:
        content = json.loads(text)
        return cls(**{**content, "rules": Rules(**content["rules"])})
