"""The loop: look at TorchServe, decide, scale, and say why."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from marserve.autoscale.capacity import capacity
from marserve.autoscale.decision import Decision, Ground
from marserve.autoscale.model import Look, WatchedModel
from marserve.autoscale.rules import Rules
from marserve.client.errors import ClientError
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.system.locks import locked
from marserve.system.machine import Machine, largest_process_bytes, read_machine
from marserve.torchserve.metrics import model_counters, read_samples
from marserve.torchserve.models import ModelVersion

LOGGER = logging.getLogger(__name__)

#: Seconds between two looks.
INTERVAL_S = 1.0


class Autoscaler:
    """Holds the workers of several models to the rules. Failures of TorchServe are logged, and outlived."""

    def __init__(
        self,
        models: Sequence[str],
        rules: Rules,
        threads: int,
        management: ManagementClient,
        read_metrics: Callable[[], str],
        change_lock: Path,
    ) -> None:
        """``threads`` are each worker's; ``change_lock`` is held by whoever changes a stack, such as a deployment."""
        self._models = {model: WatchedModel(rules) for model in models}
        self._said: dict[str, Ground] = {}
        self._served: dict[str, str] = {}
        self._threads = threads
        self._management = management
        self._read_metrics = read_metrics
        self._change_lock = change_lock
        self._is_away = False

    def step(self) -> None:
        """One look at every model, and what follows from it."""
        try:
            # Described before the counters are read: a queue that is seen was not answered yet.
            described = {model: self._management.describe(model) for model in self._models}
            samples = read_samples(self._read_metrics())
        except (ClientError, MarserveError) as exc:
            if not self._is_away:
                LOGGER.warning("TorchServe cannot be observed, so nothing is changed: %s", exc)
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
                Look(now, model_counters(samples, name), len(version.workers), version.ready_workers, version.queued)
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
            bytes_per_worker=largest_process_bytes(worker.pid for worker in version.workers if worker.pid),
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
