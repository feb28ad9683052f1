"""The throw-away cluster that KUBECONFIG names, by kubectl; any other is refused."""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from marserve.system.waiting import wait_until
from tests.reliability.table import CannotRunHereError

#: Set to 1 by who has a cluster for this suite that is not called as one.
IS_THROWAWAY = "MARSERVE_CLUSTER_IS_THROWAWAY"
#: What kind, k3d, minikube and a cluster for trying call their contexts.
THROWAWAY_CONTEXT = re.compile(r"^(kind-|k3d-|minikube$)|throw-?away")
#: Programs that break and mend nodes, and that set an external metric: docs/kubernetes.md says how they are called.
NODE_PROGRAM = "MARSERVE_CLUSTER_NODE"
METRIC_PROGRAM = "MARSERVE_CLUSTER_METRIC"
#: Seconds for one command; those that wait for pods say how long themselves.
COMMAND_S = 60.0
#: Seconds before a watch that ended is begun again: the API server ends each after a while, and may be away.
AGAIN_S = 0.2
#: Containers that were restarted so often will not be ready.
MOST_RESTARTS = 6


class NotThrowawayError(Exception):
    """The cluster may be somebody's."""


@functools.cache
def is_reachable() -> bool:
    """Whether KUBECONFIG names a cluster for this suite, and it answers."""
    if not (os.environ.get("KUBECONFIG") and shutil.which("kubectl")):
        return False
    try:
        refuse_others()
        return bool(Cluster("default").get("nodes")["items"])
    except (NotThrowawayError, subprocess.SubprocessError):
        return False


def refuse_others() -> None:
    """Raises NotThrowawayError unless the cluster is called a throw-away one, or its user says so."""
    context = kubectl("config", "current-context").strip()
    if not is_throwaway(context, os.environ):
        message = (
            f"The context {context!r} does not look like a throw-away cluster: this suite cuts, drains and kills its "
            f"nodes. If that may be done to it, set {IS_THROWAWAY}=1."
        )
        raise NotThrowawayError(message)


def is_throwaway(context: str, environment: Mapping[str, str]) -> bool:
    return environment.get(IS_THROWAWAY) == "1" or bool(THROWAWAY_CONTEXT.search(context))


def kubectl(*arguments: str, within_s: float = COMMAND_S, given: str | None = None) -> str:
    """What the command prints. Raises CalledProcessError with what it complains of."""
    command = ["kubectl", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=within_s, input=given, check=False)
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, " ".join(command), run.stdout, run.stderr[-2000:])
    return run.stdout


def need(variable: str, what: str) -> None:
    """Raises CannotRunHereError unless the environment ``variable`` says ``what`` that is."""
    if not os.environ.get(variable):
        raise CannotRunHereError(f"needs {what}: {variable}")


def told_by(program: str, *arguments: str) -> str:
    """What the program that the environment variable ``program`` names does with ``arguments``."""
    command = [os.environ[program], *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, " ".join(command), run.stdout, run.stderr[-2000:])
    return run.stdout


@dataclass(frozen=True)
class Cluster:
    """One namespace of the cluster."""

    namespace: str

    def kubectl(self, *arguments: str, within_s: float = COMMAND_S, given: str | None = None) -> str:
        return kubectl("--namespace", self.namespace, *arguments, within_s=within_s, given=given)

    def get(self, *what: str) -> Any:
        return json.loads(self.kubectl("get", *what, "--output=json"))

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        content = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "--filename=-", given=json.dumps(content))

    def nodes(self) -> dict[str, str]:
        """Addresses of the nodes that take pods, by name."""
        return {
            node["metadata"]["name"]: next(
                address["address"] for address in node["status"]["addresses"] if address["type"] == "InternalIP"
            )
            for node in self.get("nodes")["items"]
            if not any(taint["effect"] == "NoSchedule" for taint in node["spec"].get("taints", []))
        }

    def is_ready(self, node: str) -> bool:
        return is_true(self.get("node", node), "Ready")


def is_true(thing: Mapping[str, Any], condition: str) -> bool:
    """Whether a pod's or a node's condition is."""
    listed = thing["status"].get("conditions", [])
    return any(entry["type"] == condition and entry["status"] == "True" for entry in listed)


@contextmanager
def own_namespace(name: str) -> Iterator[Cluster]:
    """A namespace that is there inside the block alone."""
    refuse_others()
    cluster = Cluster(name)
    kubectl("create", "namespace", name)
    try:
        yield cluster
    finally:
        # A node that was lost would keep its pods, and they the namespace.
        with suppress(subprocess.SubprocessError):
            cluster.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")
        kubectl("delete", "namespace", name, "--timeout=120s", within_s=130)


@dataclass(frozen=True)
class Seen:
    """A pod as the API server showed it."""

    #: By time.monotonic().
    at: float
    name: str
    node: str
    is_ready: bool
    is_ending: bool
    restarts: int


@dataclass
class Watch:
    """What becomes of the pods of one namespace, as it happens."""

    cluster: Cluster
    selector: str
    history: list[Seen] = field(default_factory=list)
    _pods: dict[str, Seen] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _process: subprocess.Popen[str] | None = None

    @contextmanager
    def running(self) -> Iterator[Watch]:
        thread = threading.Thread(target=self._follow, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            if self._process is not None:
                self._process.terminate()
            thread.join()

    @property
    def pods(self) -> list[Seen]:
        """Those that are there now."""
        return list(self._pods.values())

    @property
    def ready(self) -> list[Seen]:
        return [pod for pod in self.pods if pod.is_ready and not pod.is_ending]

    def since(self, at: float) -> list[Seen]:
        return [seen for seen in list(self.history) if seen.at >= at]

    def wait_for_ready(self, count: int, within_s: float, *, nodes: int = 1) -> bool:
        """Whether so many pods are ready in time on at least so many nodes, and no other is there."""

        def is_whole() -> bool:
            pods, ready = self.pods, self.ready
            return len(pods) == len(ready) == count and len({pod.node for pod in ready}) >= nodes

        hopeless = MOST_RESTARTS + sum(pod.restarts for pod in self.pods)
        return wait_until(is_whole, within_s, while_alive=lambda: sum(pod.restarts for pod in self.pods) < hopeless)

    def _follow(self) -> None:
        path = f"/api/v1/namespaces/{self.cluster.namespace}/pods?watch=true&labelSelector={quote(self.selector)}"
        # An event a line, which kubectl's own --watch is not on all versions.
        command = ["kubectl", "get", "--raw", path]
        while not self._stop.wait(0 if self._process is None else AGAIN_S):
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
                self._process = process
                if self._stop.is_set():  # a moment ago, so that nobody ends this one
                    process.terminate()
                self._pods.clear()
                for line in process.stdout or ():
                    event = json.loads(line)
                    self._note(event["type"], event["object"])

    def _note(self, kind: str, pod: Mapping[str, Any]) -> None:
        seen = Seen(
            at=time.monotonic(),
            name=pod["metadata"]["name"],
            node=pod["spec"].get("nodeName", ""),
            is_ready=is_true(pod, "Ready") and kind != "DELETED",
            is_ending="deletionTimestamp" in pod["metadata"],
            restarts=sum(container["restartCount"] for container in pod["status"].get("containerStatuses", [])),
        )
        self.history.append(seen)
        if kind == "DELETED":
            self._pods.pop(seen.name, None)
        else:
            self._pods[seen.name] = seen


@dataclass(frozen=True)
class Access:
    """How the API server is reached besides by kubectl: its address, and files that say who asks."""

    server: str
    directory: Path
    files: frozenset[str]

    @classmethod
    def of_kubeconfig(cls, directory: Path) -> Access:
        """As KUBECONFIG has it; ``directory`` holds the files."""
        content = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        found = {
            "authority": cluster.get("certificate-authority-data"),
            "certificate": user.get("client-certificate-data"),
            "key": user.get("client-key-data"),
        }
        given = {name: base64.b64decode(value) for name, value in found.items() if value}
        if "token" in user:
            given["token"] = user["token"].encode()
        for name, value in given.items():
            (directory / name).write_bytes(value)
        return cls(cluster["server"], directory, frozenset(given))

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # which would put another authority in place of the cluster's
        session.verify = str(self.directory / "authority")
        if "certificate" in self.files:
            session.cert = str(self.directory / "certificate"), str(self.directory / "key")
        if "token" in self.files:
            session.headers["Authorization"] = f"Bearer {(self.directory / 'token').read_text()}"
        return session

    def of_pod(self, namespace: str, pod: str, port: int, path: str) -> str:
        """Where the API server passes requests on to one pod, whoever else the Service has."""
        return f"{self.server}/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}"

    def for_prometheus(self) -> dict[str, Any]:
        """The same for its configuration."""
        tls: dict[str, str] = {"ca_file": str(self.directory / "authority")}
        if "certificate" in self.files:
            tls |= {"cert_file": str(self.directory / "certificate"), "key_file": str(self.directory / "key")}
        token = {"authorization": {"credentials_file": str(self.directory / "token")}} if "token" in self.files else {}
        return {"tls_config": tls, **token}
