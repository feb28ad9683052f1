"""A real Prometheus that scrapes the pods, and what tells a HorizontalPodAutoscaler its answers.

It runs outside of the cluster and reaches pods through the API server. What it answers is told to the cluster as an
external metric by the program that MARSERVE_CLUSTER_METRIC names: a stand-in for KEDA or prometheus-adapter, which
ask it themselves.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests
import yaml

from marserve.system.loopback import free_ports
from marserve.system.waiting import wait_until
from tests.deploy.cluster.throwaway import METRIC_PROGRAM, Access, Watch, told_by
from tests.e2e.prometheus import Prometheus

#: Seconds between two scrapes, and between two values that are told.
SCRAPE_S = 1
TOLD_S = 2.0
TARGETS = "targets.json"


@contextmanager
def scraping(directory: Path, access: Access, watch: Watch) -> Iterator[Prometheus]:
    """One that scrapes the pods that ``watch`` knows, as many as there are."""
    (port,) = free_ports(1)
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration(access)), encoding="utf-8")
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = directory / "prometheus.log"
    write = partial(write_targets, directory, access, watch)
    write()
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            assert wait_until(lambda: is_ready(url), 30, while_alive=lambda: process.poll() is None), log.read_text()
            with repeating(write, SCRAPE_S):
                yield Prometheus(url)
        finally:
            process.terminate()


@contextmanager
def repeating(work: Callable[[], object], every_s: float) -> Iterator[None]:
    """``work`` is done again and again, until the block is left."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(every_s):
            work()

    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(repeat)
        try:
            yield
        finally:
            stop.set()
            working.result()


def is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


def configuration(access: Access) -> dict[str, object]:
    """Targets come from a file: Debian's Prometheus cannot ask an API server for them, only scrape through it."""
    job = {
        "job_name": "web",
        "scheme": urlsplit(access.server).scheme,
        **access.for_prometheus(),
        "file_sd_configs": [{"files": [TARGETS]}],
    }
    return {"global": {"scrape_interval": f"{SCRAPE_S}s", "scrape_timeout": f"{SCRAPE_S}s"}, "scrape_configs": [job]}


def write_targets(directory: Path, access: Access, watch: Watch) -> None:
    """The API server once for each pod that is ready, which it passes the question on to."""
    server = urlsplit(access.server)
    found = [
        {
            "targets": [server.netloc],
            "labels": {
                "__metrics_path__": urlsplit(access.of_pod(watch.cluster.namespace, pod.name, 5000, "/metrics")).path,
                "instance": pod.name,
                "pod": pod.name,
            },
        }
        for pod in watch.ready
    ]
    new = directory / f"{TARGETS}.new"
    new.write_text(json.dumps(found), encoding="utf-8")
    new.replace(directory / TARGETS)


@contextmanager
def telling(prometheus: Prometheus, metric: str, query: str) -> Iterator[list[float]]:
    """What Prometheus answers to ``query`` becomes the external ``metric``, again and again; all values so far."""
    told: list[float] = []

    def tell() -> None:
        if series := prometheus.query(query):
            told.append(float(series[0]["value"][1]))
            told_by(METRIC_PROGRAM, metric, f"{told[-1] * 1000:.0f}m")

    with repeating(tell, TOLD_S):
        yield told
