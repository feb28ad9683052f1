"""The loop: sample both servers, decide, scale, and say why."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from marserve.autoscale.observation import WebCounters, traffic, web_counters, web_waiting
from marserve.autoscale.policy import Capacity, Decision, Ground, Observation, Traffic, capacity, decide
from marserve.autoscale.rules import Assignment, Rules
from marserve.client.errors import ClientError
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.system.files import locked
from marserve.system.machine import Machine, read_machine
from marserve.torchserve.metrics import Counters, model_counters, read_samples
from marserve.torchserve.models import ModelVersion
from marserve.torchserve.worker_process import resident_bytes

LOGGER = logging.getLogger(__name__)

#: Seconds between two samples.
INTERVAL_S = 1.0
#: Mean workers at work below which a model claims no cores.
IDLE_BUSY = 0.1


@dataclass(frozen=True)
class ModelSample:
    at_s: float
    torchserve: Counters
    listed: int
    ready: int
    #: Requests that wait in TorchServe.
    queued: int
    web: WebCounters = field(default_factory=WebCounters)
    #: Pictures that wait in the web service.
    waiting: int = 0


class WatchedModel:
    """What was seen of a model, as far back as decisions reach."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._last: ModelSample | None = None
        self._changed_at_s = 0.0
        #: What the number of workers was changed to here.
        self._wanted: int | None = None
        self._history: deque[Observation] = deque()

    def add(self, now: ModelSample) -> None:
        """Note one more sample; an interval that was much longer than usual, or none, is the caller's to avoid."""
        if self._last is None:
            self._changed_at_s = now.at_s
        else:
            if now.listed not in (self._last.listed, self._wanted):
                self._changed_at_s = now.at_s  # by somebody else, whose choice is given its time as well
            at_torchserve = now.torchserve.since(self._last.torchserve)
            happened = traffic(at_torchserve, now.web.since(self._last.web), now.waiting - self._last.waiting)
            pending = now.waiting + round(now.queued * at_torchserve.pictures_per_request)
            seconds = now.at_s - self._last.at_s
            self._history.append(Observation(now.at_s, seconds, happened, now.listed, now.ready, pending))
        self._last = now
        oldest = now.at_s - self._rules.down_after_s - self._rules.up_after_s
        while self._history and self._history[0].at_s < oldest:
            self._history.popleft()

    def forget(self) -> None:
        """Begin anew: what comes next is another server, or another version."""
        self._last = None
        self._history.clear()

    def decide(self, most: Capacity) -> Decision | None:
        """How many workers there should be; None as long as too little was seen."""
        return decide(self._history, self._changed_at_s, self._rules, most) if self._history else None

    def changed(self, at_s: float, workers: int) -> None:
        """Note that TorchServe was told to have ``workers``."""
        self._changed_at_s = at_s
        self._wanted = workers

    @property
    def claimed(self) -> int:
        """Workers that keep other models from the cores: all of them, unless hardly anybody asks for this model."""
        if self._last is None:
            return 0
        since = self._last.at_s - self._rules.down_after_s
        busy = Traffic.over([seen for seen in self._history if seen.at_s > since]).busy
        return self._last.listed if busy >= IDLE_BUSY else 0


class Autoscaler:
    """Holds the workers of several models to the rules. Failures of either server are logged, and outlived."""

    def __init__(
        self,
        assignment: Assignment,
        management: ManagementClient,
        read_torchserve: Callable[[], str],
        read_web: Callable[[], str],
    ) -> None:
        """``read_torchserve`` and ``read_web`` answer the servers' pages of metrics, and raise MarserveError."""
        self._models = {model: WatchedModel(assignment.rules) for model in assignment.models}
        self._said: dict[str, Ground] = {}
        self._served: dict[str, str] = {}
        self._threads = assignment.threads
        self._management = management
        self._read_torchserve = read_torchserve
        self._read_web = read_web
        self._change_lock = Path(assignment.change_lock)
        self._is_away = False

    def step(self) -> None:
        """One sample of every model, and what follows from it."""
        try:
            # Described before the counters are read: a queue that is seen was not answered yet.
            described = {model: self._management.describe(model) for model in self._models}
            torchserve = read_samples(self._read_torchserve())
            web = read_samples(self._read_web())
        except MarserveError as exc:
            if not self._is_away:
                LOGGER.warning("The stack cannot be observed, so nothing is changed: %s", exc)
            self._is_away = True
            for watched in self._models.values():
                watched.forget()
            return
        self._is_away = False
        now = time.monotonic()
        machine = read_machine()
        for name, version in described.items():
            watched = self._models[name]
            if self._served.setdefault(name, version.version) != version.version:
                LOGGER.info("%s: version %s is the default now", name, version.version)
                self._served[name] = version.version
                watched.forget()
            watched.add(
                ModelSample(
                    now,
                    model_counters(torchserve, name),
                    len(version.workers),
                    version.ready_workers,
                    version.queued,
                    web_counters(web, name),
                    web_waiting(web, name),
                )
            )
        for name, version in described.items():
            self._act(name, version, machine)

    def _act(self, name: str, version: ModelVersion, machine: Machine) -> None:
        watched = self._models[name]
        most = capacity(
            machine,
            workers=len(version.workers),
            threads=self._threads,
            claimed_by_others=sum(other.claimed for model, other in self._models.items() if model != name),
            bytes_per_worker=max((resident_bytes(worker.pid) or 0 for worker in version.workers), default=0),
        )
        decision = watched.decide(most)
        if decision is None:
            return
        if decision.workers == len(version.workers):
            # Decisions to change nothing are told when their ground is another than before.
            ground = decision.ground
            if ground not in (self._said.get(name), Ground.JUDGING):
                self._said[name] = ground
                LOGGER.info("%s: stays at %d: %s; %s", name, decision.workers, ground.value, decision.reason)
            return
        self._scale(name, version, decision)

    def _scale(self, name: str, version: ModelVersion, decision: Decision) -> None:
        before = len(version.workers)
        try:
            with locked(self._change_lock, timeout_s=0):
                # The first failure of a worker to start is TorchServe's to deal with; nobody waits for it here.
                self._management.scale(name, decision.workers, version.version, synchronous=False)
        except ClientError as exc:
            LOGGER.warning("%s: TorchServe refused %d workers: %s", name, decision.workers, exc)
        except MarserveError:  # held by another: what follows from its change is seen next time
            return
        else:
            LOGGER.info(
                "%s: %d -> %d workers: %s; %s", name, before, decision.workers, decision.ground.value, decision.reason
            )
        self._said[name] = decision.ground
        self._models[name].changed(time.monotonic(), decision.workers)
