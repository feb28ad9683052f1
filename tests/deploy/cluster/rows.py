"""The chart on a real cluster: what becomes of 16 callers while it is updated, drained, and loses nodes.

It takes one to three minutes a row. The images must be where the cluster finds them; rows that break nodes need
a program that does that, and are left out without it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shutil import which

from marserve.system.waiting import wait_until
from tests.deploy.cluster.prometheus import scraping, telling
from tests.deploy.cluster.release import NAME, READY_S, Release, described_loss, installed, values
from tests.deploy.cluster.throwaway import METRIC_PROGRAM, NODE_PROGRAM, told_by
from tests.reliability.table import CannotRunHereError, Row
from tests.support import CAT, REPOSITORY

PAGE = REPOSITORY / "docs" / "kubernetes.md"
#: Seconds until a pod whose worker is dead gets no requests any more.
NOT_READY_S = 5.0
#: Seconds of a lost node until every caller is answered again, and until its pod has a replacement that is ready.
ANSWERED_S = 12.0
REPLACED_S = 30.0
#: Seconds for which a fault lasts whose effect is to be seen.
FAULT_S = 15.0
#: Seconds after which callers on a busy machine note that a connection was accepted.
NOTED_S = 0.5
#: Seconds for which nothing may change, once the number of pods fits.
STEADY_S = 10.0
#: In one pod's container: SIGKILL to TorchServe's worker, and to each that follows, for so many seconds.
KILL_WORKERS = """
import os, pathlib, sys, time
end = time.monotonic() + float(sys.argv[1])
killed = 0
while time.monotonic() < end:
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"model_service_worker" in command and int(process.name) != os.getpid():
            os.kill(int(process.name), 9)
            killed += 1
    time.sleep(0.1)
print(killed)
"""


@contextmanager
def stage(options: argparse.Namespace) -> Iterator[Stage]:
    stage = Stage()
    try:
        yield stage
    finally:
        stage.clear()


class Stage:
    """One release, which the rows share while it is well."""

    def __init__(self) -> None:
        self._open: AbstractContextManager[Release] | None = None
        self._release: Release | None = None

    def release(self) -> Release:
        """It, settled."""
        if self._release is None:
            self._open = installed()
            self._release = self._open.__enter__()
        self._release.settle()
        return self._release

    def clear(self) -> None:
        """End what there is."""
        opened, self._open, self._release = self._open, None, None
        if opened is not None:
            opened.__exit__(None, None, None)


def install(stage: Stage) -> Row:
    """``helm install`` and ``helm test``; each pod is asked for a picture the moment that it says it is ready."""
    stage.clear()
    release = stage.release()
    ready_at: dict[str, float] = {}
    for seen in release.watch.history:
        if seen.is_ready:
            ready_at.setdefault(seen.name, seen.at)
    release.helm.test(NAME, timeout=120)
    took = ", ".join(f"{at - release.installed_at:.1f} s" for at in sorted(ready_at.values()))
    return release.row(
        "`helm install`, then `helm test`", release.installed_at, f"pods ready after {took}; `helm test` passes"
    )


def first_picture(stage: Stage) -> Row:
    """New pods, each of which is asked for a picture the moment that Kubernetes calls it ready."""
    release = stage.release()
    old = {pod.name for pod in release.watch.pods}
    began = time.monotonic()
    release.cluster.kubectl("rollout", "restart", f"deployment/{release.deployment}")
    answered: dict[str, tuple[int, float]] = {}

    def ask_each() -> bool:
        for pod in release.watch.ready:
            if pod.name not in old and pod.name not in answered:
                asked_at = time.monotonic()
                status = release.of_pod(pod.name, "/classify", CAT.read_bytes()).status_code
                answered[pod.name] = status, time.monotonic() - asked_at
        return len(answered) >= release.replicas

    wait_until(ask_each, READY_S, poll_s=0.02)
    release.roll_out()
    told = ", ".join(f"{status} after {seconds:.2f} s" for status, seconds in answered.values())
    failed = any(status != 200 for status, _ in answered.values())
    complaints = ["a pod was ready and did not classify"] if failed else []
    name = "new pods, each asked for a picture the moment that it is ready"
    return release.row(name, began, told, complaints=complaints)


def worker_killed(stage: Stage) -> Row:
    """One pod's worker, and each that follows it: the pod must leave the Service, and come back."""
    release = stage.release()
    pod = release.watch.ready[0].name
    began = time.monotonic()
    command = ("exec", pod, "--container=torchserve", "--", "python3", "-c", KILL_WORKERS, str(FAULT_S))
    killed = release.cluster.kubectl(*command, within_s=FAULT_S + 30)
    ended = time.monotonic()
    back = wait_until(lambda: any(seen.name == pod for seen in release.watch.ready), READY_S)
    seen = [entry for entry in release.watch.since(began) if entry.name == pod]
    left_at = next((entry.at for entry in seen if not entry.is_ready), None)
    back_at = next((entry.at for entry in seen if entry.is_ready and left_at and entry.at > left_at), ended)
    complaints = ["" if back else "it did not come back"]
    if left_at is None or left_at - began > NOT_READY_S:
        complaints.append(f"it was not taken out within {NOT_READY_S:.0f} s")
    if any(entry.restarts for entry in seen):
        complaints.append("a container was restarted")
    told = f"{killed.strip()} workers killed"
    if left_at is not None:
        told += f"; not ready after {left_at - began:.1f} s, ready {back_at - ended:.1f} s after the last"
    name = f"SIGKILL to the worker of one of two pods, and to each that follows, for {FAULT_S:.0f} s"
    # What the pod has waits there for a worker, for longer than these callers do: one request of each at most.
    return release.row(name, began, told, may_be_lost=release.callers.clients, complaints=complaints)


def rolling_update(stage: Stage) -> Row:
    """Every pod is replaced by one of the same kind."""
    release = stage.release()
    began = time.monotonic()
    release.cluster.kubectl("rollout", "restart", f"deployment/{release.deployment}")
    release.roll_out()
    return release.row("`kubectl rollout restart`", began)


def upgrade(stage: Stage) -> Row:
    """``helm upgrade`` to another archive, which callers tell by its answers."""
    release = stage.release()
    began = time.monotonic()
    release.upgrade(second=True)
    release.roll_out()
    return release.row("`helm upgrade` to another archive", began)


def rollback(stage: Stage) -> Row:
    """``helm rollback`` from there."""
    release = stage.release()
    if not release.archives[-1]:
        release.upgrade(second=True)
        release.roll_out()
        release.settle()
    began = time.monotonic()
    release.roll_back()
    release.roll_out()
    return release.row("`helm rollback`", began)


def bad_upgrade(stage: Stage) -> Row:
    """``helm upgrade`` to an archive that is not the one that was meant: its pod must never be ready."""
    release = stage.release()
    old = {pod.name for pod in release.watch.pods}
    began = time.monotonic()
    release.upgrade(archive={"source": "baked", "sha256": "0" * 64})
    wait_until(lambda: any(pod.restarts > 1 for pod in release.watch.pods if pod.name not in old), 120)
    ready = [seen for seen in release.watch.since(began) if seen.name not in old and seen.is_ready]
    kept = old <= {pod.name for pod in release.watch.ready}
    release.roll_back()
    release.roll_out()
    complaints = ["a pod with the wrong archive was ready" if ready else "", "" if kept else "old pods went"]
    name = "`helm upgrade` to an archive with another hash, then `helm rollback`"
    return release.row(name, began, complaints=complaints)


def drain(stage: Stage) -> Row:
    """``kubectl drain``, which asks the PodDisruptionBudget."""
    release = stage.release()
    node = release.watch.ready[0].node
    began = time.monotonic()
    try:
        command = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s")
        release.cluster.kubectl(*command, within_s=190)
        took = time.monotonic() - began
        release.watch.wait_for_ready(release.replicas, READY_S)
    finally:
        release.cluster.kubectl("uncordon", node)
    return release.row("`kubectl drain` of a node", began, f"drained in {took:.0f} s")


def cable_cut(stage: Stage) -> Row:
    """A node that nobody reaches any more."""
    return lost_node(stage, "cut", "restore", "a node's cable cut")


def kubelet_killed(stage: Stage) -> Row:
    """A node whose kubelet is dead: its pods go on, and Kubernetes gives them up."""
    return lost_node(stage, "kill", "restart", "SIGKILL to a node's kubelet", may_lose=False)


def lost_node(stage: Stage, fault: str, mend: str, name: str, *, may_lose: bool = True) -> Row:
    need(NODE_PROGRAM, "a program that breaks nodes")
    release = stage.release()
    lost_pod = release.watch.ready[0]
    before = {pod.name for pod in release.watch.pods}
    began = time.monotonic()
    try:
        told_by(NODE_PROGRAM, fault, lost_pod.node)
        struck_by = time.monotonic() + NOTED_S
        replacement = wait_until(
            lambda: [pod for pod in release.watch.ready if pod.name not in before], REPLACED_S + 30
        )
        replaced_after_s = replacement[0].at - began if replacement else None
        release.wait_for_calm(began, 60)
    finally:
        told_by(NODE_PROGRAM, mend, lost_pod.node)
        wait_until(lambda: release.cluster.is_ready(lost_pod.node), 60)
    answers = release.callers.since(began)
    lost = [answer for answer in answers if answer.outcome != "right"]
    # What was in flight: over a connection that was there before, and one request of each caller at most.
    in_flight = [answer for answer in lost if answer.connected_at <= struck_by]
    complaints = [
        "" if len(in_flight) == len(lost) <= release.callers.clients else "more lost than was in flight",
        "" if replaced_after_s else "no replacement",
    ]
    if may_lose and (replaced_after_s or 0) > REPLACED_S:
        complaints.append(f"no replacement in {REPLACED_S:.0f} s")
    told = "replacement ready after " + ("?" if replaced_after_s is None else f"{replaced_after_s:.1f} s")
    if lost:
        told += f"; {described_loss(lost, struck_by)}"
    may_be_lost = len(in_flight) if may_lose else 0
    return release.row(name, began, told, may_be_lost=may_be_lost, answered_within_s=ANSWERED_S, complaints=complaints)


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


def need(variable: str, what: str) -> None:
    if not os.environ.get(variable):
        raise CannotRunHereError(f"needs {what}: {variable}")


ROWS: Mapping[str, Callable[[Stage], Row]] = {
    "install": install,
    "first-picture": first_picture,
    "worker-killed": worker_killed,
    "rolling-update": rolling_update,
    "upgrade": upgrade,
    "rollback": rollback,
    "bad-upgrade": bad_upgrade,
    "drain": drain,
    "cable-cut": cable_cut,
    "kubelet-killed": kubelet_killed,
    "autoscaling": autoscaling,
}
