"""Many pods behind a load balancer: pods come, go and are lost while requests arrive."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Literal, get_args

from marserve.plan.hpa import SYNC_S, Hpa, HpaRules
from marserve.plan.pod import Pod
from marserve.plan.pod_spec import PodSpec

#: How the load balancer chooses: HAProxy's and Envoy's least connections, its turn, or as kube-proxy by chance.
Balance = Literal["least", "round-robin", "random"]
BALANCES: tuple[Balance, ...] = get_args(Balance)
#: Seconds until a load balancer knows that a host has gone: with a cable cut, Kubernetes' node was NotReady after 9 s.
NOTICE_S = 10.0
#: Seconds after that until its pods are replaced: ``lostNodeSeconds`` of deploy/helm.
REPLACE_S = 30.0
#: Seconds between two looks at the requests in flight. What the HorizontalPodAutoscaler sees is a sync old: half of a
#: scrape's interval of 30 s.
SAMPLE_S = 1.0


@dataclass(frozen=True)
class LostZone:
    """At ``at_s`` the pods of one of ``zones``, among which they are spread evenly, are lost with what they had."""

    zones: int
    at_s: float


@dataclass
class FleetRun:
    """What became of the requests of one run."""

    due: Sequence[float]
    #: Seconds until each was answered; None: refused, lost or too late.
    took: list[float | None]
    #: Pods for as long as they were there, starting ones included, in pod-seconds.
    pod_seconds: float = 0.0
    #: When how many pods there were, and of these took requests.
    pods: list[tuple[float, int, int]] = field(default_factory=list)
    #: The requests in flight of a pod, now and then.
    in_flight: list[float] = field(default_factory=list)

    def share(self, limit_s: float, since_s: float = -inf, until_s: float = inf) -> float:
        """Of the requests that came then, how many were answered within ``limit_s``; 1 where there were none."""
        came = [took for due, took in zip(self.due, self.took, strict=True) if since_s <= due < until_s]
        return sum(took is not None and took <= limit_s for took in came) / len(came) if came else 1.0

    def unanswered(self, since_s: float = -inf, until_s: float = inf) -> float:
        """The share that was refused, lost or too late for its deadline."""
        return 1.0 - self.share(inf, since_s, until_s)

    def percentile_s(self, percent: float) -> float:
        """Of those that were answered; infinity where none was."""
        rising = sorted(took for took in self.took if took is not None)
        return rising[min(len(rising) - 1, int(len(rising) * percent / 100))] if rising else inf


class _Member:
    """A pod and what the load balancer thinks of it."""

    __slots__ = ("is_lost", "pod", "zone")

    def __init__(self, pod: Pod, zone: int) -> None:
        self.pod = pod
        self.zone = zone
        self.is_lost = False


class Fleet:
    """Pods of one kind, from their start to the end of a run."""

    def __init__(
        self,
        spec: PodSpec,
        pods: int,
        due: Sequence[float],
        *,
        balance: Balance = "least",
        seed: int = 0,
        cold_start_s: float = 0.0,
        autoscaled: HpaRules | None = None,
        lost: LostZone | None = None,
    ) -> None:
        """``due`` rise; ``pods`` are ready when the run begins."""
        self._run = FleetRun(due, [None] * len(due))
        self._spec, self._balance, self._seed = spec, balance, seed
        self._source = random.Random(seed)  # noqa: S311 - a simulation, which must repeat
        self._cold_start_s = cold_start_s
        self._zones = lost.zones if lost else 1
        self._made = count()
        self._turns = count()
        self._serving: list[_Member] = []
        #: Ending: they answer what they have.
        self._draining: list[_Member] = []
        self._pending = 0
        self._changed_s = 0.0
        #: What happens at its time, besides requests.
        self._events: list[tuple[float, int, Literal["sync", "sample", "ready", "lose", "notice", "replace"], int]] = []
        self._order = count()
        self._hpa = Hpa(autoscaled) if autoscaled else None
        self._scraped: list[float] = []
        for _ in range(pods):
            self._serving.append(self._member())
        if lost:
            self._at(lost.at_s, "lose")
        if self._hpa:
            self._at(SYNC_S, "sync")
        self._at(SAMPLE_S, "sample")
        self._note(0.0)

    def run(self) -> FleetRun:
        """Let all requests come, and be answered."""
        due = self._run.due
        for number, at in enumerate(due):
            while self._events[0][0] <= at:
                happens_at, _, kind, amount = heapq.heappop(self._events)
                self._happen(kind, amount, happens_at)
            self._send(number, at)
        end_s = due[-1] if due else 0.0
        for member in [*self._serving, *self._draining]:
            if not member.is_lost:
                member.pod.advance(inf)
        self._note(end_s)
        return self._run

    def _at(
        self, at: float, kind: Literal["sync", "sample", "ready", "lose", "notice", "replace"], of: int = 0
    ) -> None:
        heapq.heappush(self._events, (at, next(self._order), kind, of))

    def _member(self) -> _Member:
        number = next(self._made)
        pod = Pod(self._spec, self._run.due, self._run.took, seed=hash((self._seed, number)))
        return _Member(pod, number % self._zones)

    def _note(self, now: float) -> None:
        """Count what there was until ``now``."""
        there = len(self._serving) + self._pending
        if self._run.pods:
            _, before, _ = self._run.pods[-1]
            self._run.pod_seconds += before * (now - self._changed_s)
        self._changed_s = now
        self._run.pods.append((now, there, sum(not member.is_lost for member in self._serving)))

    def _send(self, number: int, at: float) -> None:
        members = self._serving
        if not members:
            return
        if self._balance == "random":
            chosen = members[self._source.randrange(len(members))]
        elif self._balance == "round-robin":
            chosen = members[next(self._turns) % len(members)]
        else:
            # Of equals another one each time.
            first = next(self._turns) % len(members)
            chosen = members[first]
            least = inf
            for member in (*members[first:], *members[:first]):
                pod = member.pod
                if pod.next_at <= at and not member.is_lost:
                    pod.advance(at)
                if pod.in_flight < least:
                    least, chosen = pod.in_flight, member
        if chosen.is_lost:
            chosen.pod.in_flight += 1  # it is never answered
        else:
            chosen.pod.arrive(number)

    def _happen(self, kind: str, amount: int, now: float) -> None:
        if kind == "sample":
            self._run.in_flight += self._in_flight(now)
            self._at(now + SAMPLE_S, "sample")
            return
        if kind == "sync" and self._hpa:
            self._sync(self._hpa, now)
            self._at(now + SYNC_S, "sync")
        elif kind == "ready":
            self._pending -= 1
            self._serving.append(self._member_at(now))
        elif kind == "lose":
            for member in self._serving:
                if member.zone == self._zones - 1 and not member.is_lost:
                    member.pod.advance(now)
                    member.is_lost = True
            self._at(now + NOTICE_S, "notice")
        elif kind == "notice":
            gone = sum(member.is_lost for member in self._serving)
            self._serving = [member for member in self._serving if not member.is_lost]
            self._at(now + REPLACE_S, "replace", gone)
        else:
            self._start(amount, now)
        self._note(now)

    def _member_at(self, now: float) -> _Member:
        member = self._member()
        member.pod.advance(now)
        return member

    def _start(self, pods: int, now: float) -> None:
        self._pending += pods
        for _ in range(pods):
            self._at(now + self._cold_start_s, "ready")

    def _in_flight(self, now: float) -> list[float]:
        """Of each pod that answers."""
        pods = [member.pod for member in self._serving if not member.is_lost]
        for pod in pods:
            pod.advance(now)
        return [float(pod.in_flight) for pod in pods]

    def _sync(self, hpa: Hpa, now: float) -> None:
        there = len(self._serving) + self._pending
        wanted = hpa.decide(now, there, self._scraped[: len(self._serving)], self._pending)
        self._scraped = self._in_flight(now)
        if wanted > there:
            self._start(wanted - there, now)
        for _ in range(min(there - wanted, len(self._serving) - 1)):
            self._draining.append(self._serving.pop())
