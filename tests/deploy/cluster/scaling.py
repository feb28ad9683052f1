"""The number of pods while a HorizontalPodAutoscaler follows what Prometheus says."""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from marserve.system.waiting import wait_until
from tests.deploy.cluster.prometheus import scraping, telling
from tests.deploy.cluster.release import Release, Stage, installed, values
from tests.deploy.cluster.throwaway import METRIC_PROGRAM, need, told_by
from tests.reliability.table import CannotRunHereError, Row

#: Seconds for which nothing may change, once the number of pods fits.
STEADY_S = 10.0


def autoscaling(stage: Stage) -> Row:
    """A burst that needs four pods, and its end: the HorizontalPodAutoscaler, by what Prometheus says."""
    need(METRIC_PROGRAM, "a program that sets an external metric")
    if which("prometheus") is None:
        raise CannotRunHereError("needs prometheus")
    stage.clear()
    metric, per_pod = "marserve_in_flight", 3
    scaled = values(
        replicas=1,
        autoscaling={
            "engine": "hpa",
            "minReplicas": 1,
            "maxReplicas": 4,
            "inFlightPerPod": per_pod,
            "hpa": {"metricType": "External", "metricName": metric},
            # The chart's waits for five minutes, and takes one for each half of the pods.
            "behavior": {
                "scaleDown": {
                    "stabilizationWindowSeconds": 20,
                    "policies": [{"type": "Percent", "value": 50, "periodSeconds": 15}],
                }
            },
        },
    )
    told_by(METRIC_PROGRAM, metric, "0")
    query = "sum(avg_over_time(web_requests_in_flight[10s]))"
    with installed(scaled, clients=2) as release, tempfile.TemporaryDirectory() as directory:
        sizes = Sizes(release)
        with (
            scraping(Path(directory), release.access, release.watch) as prometheus,
            telling(prometheus, metric, query) as values_told,
            sizes.watched(),
        ):
            wait_until(lambda: len(values_told) > 3, 30)
            began = time.monotonic()
            with release.callers.at_work(14):
                wait_until(lambda: len(release.watch.ready) == 4, 120)
                up_after_s = time.monotonic() - began
                time.sleep(STEADY_S)
            burst_over = time.monotonic()
            wait_until(lambda: len(release.watch.pods) == 1, 180)
            down_after_s = time.monotonic() - burst_over
            time.sleep(STEADY_S)
        path = sizes.path
        complaints = [
            "" if max(path) == 4 and path[-1] == 1 else "it did not follow",
            "it flapped" if flaps(path) else "",
        ]
        told = (
            f"pods {' → '.join(map(str, path))}; four ready {up_after_s:.0f} s after the burst began, one left "
            f"{down_after_s:.0f} s after it ended; told {min(values_told):.1f} to {max(values_told):.1f} in flight"
        )
        name = (
            "2 callers, a burst of 14 more, and its end; HorizontalPodAutoscaler on an external metric from Prometheus"
        )
        return release.row(name, began, told, complaints=complaints)


class Sizes:
    """How many pods the Deployment is to have, as that changes."""

    def __init__(self, release: Release) -> None:
        self.path: list[int] = []
        self._release, self._stop = release, threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _look(self) -> None:
        name = self._release.deployment
        while not self._stop.wait(0.5):
            size = self._release.cluster.get("deployment", name)["spec"]["replicas"]
            if self.path[-1:] != [size]:
                self.path.append(size)


def flaps(path: list[int]) -> bool:
    """Whether it turned more than once: from up to down."""
    steps = [after > before for before, after in itertools.pairwise(path)]
    return sum(a != b for a, b in itertools.pairwise(steps)) > 1
