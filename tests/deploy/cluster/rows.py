"""The chart on a real cluster: what becomes of 16 callers while it is updated, drained, and loses nodes.

It takes one to three minutes a row. The images must be where the cluster finds them; rows that break nodes need
a program that does that, and are left out without it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from marserve.system.waiting import wait_until
from tests.deploy.cluster.release import NAME, READY_S, Stage, described_loss
from tests.deploy.cluster.scaling import autoscaling
from tests.deploy.cluster.throwaway import NODE_PROGRAM, need, told_by
from tests.reliability.table import Row
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
