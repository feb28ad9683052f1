"""The HorizontalPodAutoscaler's decision, as a pure function of what it sees; defaults are those of deploy/helm.

Source: Kubernetes' documentation of the algorithm and of ``behavior``, and pkg/controller/podautoscaler of 1.30.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

#: Seconds between two decisions (``--horizontal-pod-autoscaler-sync-period``), and the difference of the metric from
#: its target, as a share, that is let be (``--horizontal-pod-autoscaler-tolerance``).
SYNC_S, TOLERANCE = 15.0, 0.1


@dataclass(frozen=True)
class HpaRules:
    """Of one HorizontalPodAutoscaler with a metric of the type ``Pods`` or, per pod, ``External``."""

    minimum: int
    maximum: int
    #: Requests in flight of a pod.
    target: float = 8.0
    #: Seconds for which the highest recommendation counts before pods go.
    down_window_s: float = 300.0
    #: In ``up_period_s`` so many pods may be added, or this share of those there are, whichever is more; and removed.
    up_pods: int = 4
    up_share: float = 1.0
    up_period_s: float = 15.0
    down_share: float = 0.5
    down_period_s: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise ValueError(f"{self.minimum}..{self.maximum} pods: give 1 or more, and no less at the end.")


@dataclass
class Hpa:
    """What it remembers: recommendations, and pods that were added (removed: negative), each with its time."""

    rules: HpaRules
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _changed: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(self, now: float, pods: int, in_flight: Sequence[float], pending: int = 0) -> int:
        """How many pods there should be of ``pods``.

        ``in_flight`` has the metric of each that answers, and ``pending`` is how many do not yet: they count as if they
        had nothing to do where more pods are wanted, and not at all where fewer are.
        """
        rules = self.rules
        recommended = min(max(self._by_metric(pods, in_flight, pending), rules.minimum), rules.maximum)
        self._recommended.append((now, recommended))
        while self._recommended[0][0] < now - rules.down_window_s:
            self._recommended.popleft()
        wanted = max(pods, recommended)
        if recommended < pods:
            wanted = min(pods, max(one for _, one in self._recommended))
        wanted = min(max(wanted, rules.minimum), rules.maximum)
        if wanted > pods:
            before = pods - self._change(now, rules.up_period_s)
            wanted = min(wanted, max(before + rules.up_pods, ceil(before * (1 + rules.up_share)), pods))
        elif wanted < pods:
            before = pods - self._change(now, rules.down_period_s)
            wanted = max(wanted, min(int(before * (1 - rules.down_share)), pods))
        if wanted != pods:
            self._changed.append((now, wanted - pods))
        return wanted

    def _change(self, now: float, period_s: float) -> int:
        longest = max(self.rules.up_period_s, self.rules.down_period_s)
        while self._changed and self._changed[0][0] <= now - longest:
            self._changed.popleft()
        return sum(change for at, change in self._changed if at > now - period_s)

    def _by_metric(self, pods: int, in_flight: Sequence[float], pending: int) -> int:
        if not in_flight:
            return pods
        ratio = sum(in_flight) / len(in_flight) / self.rules.target
        if not pending or ratio < 1:
            return pods if abs(ratio - 1) <= TOLERANCE else ceil(ratio * len(in_flight))
        counted = len(in_flight) + pending
        with_pending = sum(in_flight) / counted / self.rules.target
        if abs(with_pending - 1) <= TOLERANCE or with_pending < 1:
            return pods
        return max(ceil(with_pending * counted), pods)
