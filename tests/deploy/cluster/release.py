"""The chart, installed into a throw-away cluster, with callers who come in by its nodes."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from marserve import __version__
from marserve.system.waiting import wait_until
from marserve.terminal import say
from tests.deploy.cluster.callers import Called, Callers, summed_up
from tests.deploy.cluster.throwaway import Access, Cluster, Watch, own_namespace
from tests.deploy.helm import CHART
from tests.reliability.table import Row

if TYPE_CHECKING:
    from helm_python import Config

NAME = "pictures"
OURS = f"app.kubernetes.io/instance={NAME}"
#: Of the web service, in the pods.
PORT = 5000
REPLICAS = 2
#: Seconds for all pods to be ready, on a machine that does something else.
READY_S = 240.0
#: Seconds without anything bad after which all is well again.
CALM_S = 3.0
#: Images by what they are for: the variables that name them, and what they are called where nothing is said. They must
#: be loaded, or be where the cluster pulls from. The second one has another archive, of another version.
IMAGES = {
    "web": ("MARSERVE_CLUSTER_WEB_IMAGE", f"localhost/marserve-web:{__version__}"),
    "torchserve": ("MARSERVE_CLUSTER_TORCHSERVE_IMAGE", f"localhost/marserve-torchserve:{__version__}"),
    "second": ("MARSERVE_CLUSTER_SECOND_IMAGE", f"localhost/marserve-torchserve:{__version__}-second"),
}


def image(purpose: str) -> dict[str, str]:
    """An image as the chart's values have it."""
    variable, usual = IMAGES[purpose]
    repository, _, tag = os.environ.get(variable, usual).rpartition(":")
    return {"repository": repository, "tag": tag}


def values(*, second: bool = False, **more: Any) -> dict[str, Any]:
    """What is tried: small pods, of which four fit beside everything else, and nodes whose loss is noticed soon."""
    return {
        "image": {"web": image("web"), "torchserve": image("second" if second else "torchserve")},
        "replicas": REPLICAS,
        "torchserve": {"workers": 1, "resources": resources("500m", "1Gi")},
        "web": {"resources": resources("100m", "256Mi")},
        "service": {"type": "NodePort"},
        "lostNodeSeconds": 2,
        **more,
    }


def resources(cpu: str, memory: str) -> dict[str, Any]:
    """Requests that fit; pods share what cores there are."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "1", "memory": memory}}


@dataclass
class Release:
    """The chart under load, as it was before anything was done to it."""

    cluster: Cluster
    helm: Config
    watch: Watch
    callers: Callers
    access: Access
    session: requests.Session
    #: When it was installed, by time.monotonic().
    installed_at: float
    #: Whether each revision so far has the second archive.
    archives: list[bool] = field(default_factory=lambda: [False])
    replicas: int = REPLICAS

    def upgrade(self, **changed: Any) -> None:
        """``helm upgrade``, which returns when the API server has it."""
        from helm_python import Chart

        with Chart.load(CHART) as chart:
            self.helm.upgrade(chart, NAME, values(**changed))
        self.archives.append(changed.get("second", False))

    def roll_back(self) -> None:
        """``helm rollback`` to the revision before."""
        self.helm.rollback(NAME)
        self.archives.append(self.archives[-2])

    def roll_out(self, within_s: float = READY_S) -> None:
        """Return when the last change is rolled out. Raises CalledProcessError where it is not in time."""
        self.cluster.kubectl(
            "rollout", "status", f"deployment/{self.deployment}", f"--timeout={within_s:.0f}s", within_s=within_s + 10
        )

    @property
    def deployment(self) -> str:
        listed = self.cluster.get("deployments", f"--selector={self.watch.selector}")["items"]
        (name,) = [item["metadata"]["name"] for item in listed]
        return str(name)

    def settle(self) -> None:
        """Return when there are as many pods as wished, all ready, on different nodes, and callers are answered."""
        nodes = min(self.replicas, len(self.cluster.nodes()))
        self.watch.wait_for_ready(self.replicas, READY_S)
        if len({pod.node for pod in self.watch.ready}) < nodes:
            self._spread()
        assert self.watch.wait_for_ready(self.replicas, READY_S, nodes=nodes), self.watch.pods
        self.wait_for_calm(time.monotonic(), 60.0)

    def _spread(self) -> None:
        """Let one pod start elsewhere: what was drained or lost fills again by itself only with what is new."""
        crowded = self.watch.ready[0]
        self.cluster.kubectl("cordon", crowded.node)
        try:
            self.cluster.kubectl("delete", "pod", crowded.name, within_s=READY_S)
            wait_until(lambda: len(self.watch.ready) == self.replicas, READY_S)
        finally:
            self.cluster.kubectl("uncordon", crowded.node)

    def wait_for_calm(self, since: float, within_s: float) -> float | None:
        """The time of the first answer after the last bad one, once nothing bad was seen for a while."""
        give_up = time.monotonic() + within_s + CALM_S
        while time.monotonic() < give_up:
            answers = self.callers.since(since)
            bad = max((answer.ended_at for answer in answers if answer.outcome != "right"), default=since)
            good = [answer.ended_at for answer in answers if answer.outcome == "right" and answer.sent_at >= bad]
            if good and time.monotonic() - bad >= CALM_S:
                return min(good)
            time.sleep(0.1)
        return None

    def row(
        self,
        name: str,
        since: float,
        told: str = "",
        *,
        may_be_lost: int = 0,
        answered_within_s: float = 60.0,
        complaints: Sequence[str] = (),
    ) -> Row:
        """What was seen from ``since`` on, once callers are answered again. ``complaints`` are what did not hold."""
        calm_at = self.wait_for_calm(since, answered_within_s)
        answers = self.callers.since(since)
        lost = [answer for answer in answers if answer.outcome != "right"]
        found = [complaint for complaint in complaints if complaint]
        if wrong := sum(answer.outcome == "wrong" for answer in answers):
            found.append(f"{wrong} wrong answers")
        if len(lost) > may_be_lost:
            found.append(f"{len(lost)} requests lost")
        answered_after_s = None if calm_at is None or not lost else calm_at - since
        if calm_at is None or (answered_after_s or 0) > answered_within_s:
            found.append(f"not all answered within {answered_within_s:.0f} s")
        seen = "; ".join(filter(None, [summed_up(answers), told])) + (f". **{'; '.join(found)}**" if found else "")
        return Row(name, seen, answered_after_s, f"{len(lost)} of {len(answers)}" if lost else "nothing", not found)

    def of_pod(self, pod: str, path: str, picture: bytes | None = None) -> requests.Response:
        """What one pod answers, whoever else the Service has."""
        url = self.access.of_pod(self.cluster.namespace, pod, PORT, path)
        if picture is None:
            return self.session.get(url, timeout=5)
        return self.session.post(url, data=picture, headers={"Content-Type": "image/jpeg"}, timeout=10)


def described_loss(lost: Sequence[Called], at: float) -> str:
    """When lost requests were sent, and on what connections."""
    before = sum(answer.connected_at < at for answer in lost)
    return f"{before} of them on connections from before" if lost else ""


@contextmanager
def installed(given: Mapping[str, Any] | None = None, *, clients: int | None = None) -> Iterator[Release]:
    """The chart in a namespace of its own, ready, with callers at work; all of it is deleted in the end."""
    from helm_python import Chart, Config  # only here: see tests/deploy/helm.py

    with ExitStack() as stack:
        cluster = stack.enter_context(own_namespace(f"marserve-{secrets.token_hex(3)}"))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        access = Access.of_kubeconfig(directory)
        session = stack.enter_context(access.session())
        watch = Watch(cluster, f"{OURS},app.kubernetes.io/component=server")
        stack.enter_context(watch.running())
        helm = stack.enter_context(Config(namespace=cluster.namespace))
        began = time.monotonic()
        say(f"  installing the chart into {cluster.namespace} ...")
        with Chart.load(CHART) as loaded:
            helm.install(loaded, NAME, dict(given or values()))
        stack.callback(helm.uninstall, NAME)
        release = Release(cluster, helm, watch, Callers([]), access, session, began)
        release.replicas = dict(given or values())["replicas"]
        assert watch.wait_for_ready(release.replicas, READY_S), f"not ready: {watch.pods}\n{ailment(cluster)}"
        service = next(
            item
            for item in cluster.get("services", f"--selector={OURS}")["items"]
            if item["spec"]["type"] == "NodePort"
        )
        port = service["spec"]["ports"][0]["nodePort"]
        release.callers = Callers([f"http://{address}:{port}" for address in cluster.nodes().values()])
        for entry in release.callers.entries:  # kube-proxy needs a moment
            assert wait_until(partial(lets_in, entry), 30), f"{entry} lets nobody in"
        release.callers.learn(release.callers.entries[0])
        with release.callers.at_work(clients):
            assert wait_until(lambda: len(release.callers.answers) >= 1, 30)
            yield release


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


def lets_in(entry: str) -> bool:
    try:
        return requests.get(f"{entry}/readyz", timeout=2).ok
    except requests.RequestException:
        return False


def ailment(cluster: Cluster) -> str:
    """Why pods are not ready, as far as the API server and their logs know."""
    pods = cluster.get("pods")["items"]
    logs = [
        f"{name}: " + cluster.kubectl("logs", name, "--all-containers", "--tail=5")
        for name in (pod["metadata"]["name"] for pod in pods[:2])
    ]
    events = cluster.kubectl("get", "events", "--sort-by=.lastTimestamp").splitlines()[-15:]
    return "\n".join([cluster.kubectl("get", "pods", "--output=wide"), *events, *logs])
