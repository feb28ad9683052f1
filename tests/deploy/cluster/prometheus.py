"""A real Prometheus that scrapes the pods, and what tells a HorizontalPodAutoscaler its answers.

It runs outside of the cluster and reaches pods through the API server. What it answers is told to the cluster as an
external metric by the program that MARSERVE_CLUSTER_METRIC names: a stand-in for KEDA or prometheus-adapter, which
ask it themselves.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import requests
import yaml

from marserve.system.loopback import free_ports
from marserve.system.waiting import wait_until
from tests.deploy.cluster.throwaway import METRIC_PROGRAM, Access, told_by
from tests.e2e.prometheus import Prometheus

#: Seconds between two scrapes, and between two values that are told.
SCRAPE_S = 1
TOLD_S = 2.0


@contextmanager
def scraping(directory: Path, access: Access, namespace: str, selector: str) -> Iterator[Prometheus]:
    """One that scrapes all pods of ``selector``, as many as there are."""
    (port,) = free_ports(1)
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration(access, namespace, selector)), encoding="utf-8")
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = directory / "prometheus.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            assert wait_until(lambda: is_ready(url), 30, while_alive=lambda: process.poll() is None), log.read_text()
            yield Prometheus(url)
        finally:
            process.terminate()


def is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


def configuration(access: Access, namespace: str, selector: str) -> dict[str, object]:
    """Pods as the API server knows them, by the API server: its own example of scraping from outside of a cluster."""
    server = urlsplit(access.server)
    proxied = f"/api/v1/namespaces/{namespace}/pods/$1:5000/proxy/metrics"
    pod = {"source_labels": ["__meta_kubernetes_pod_name"]}
    job = {
        "job_name": "web",
        "scheme": server.scheme,
        **access.for_prometheus(),
        "kubernetes_sd_configs": [
            {
                "role": "pod",
                "api_server": access.server,
                "namespaces": {"names": [namespace]},
                "selectors": [{"role": "pod", "label": selector}],
                **access.for_prometheus(),
            }
        ],
        "relabel_configs": [
            {"source_labels": ["__meta_kubernetes_pod_container_port_number"], "regex": "5000", "action": "keep"},
            {"source_labels": ["__meta_kubernetes_pod_ready"], "regex": "true", "action": "keep"},
            {"target_label": "__address__", "replacement": server.netloc},
            {**pod, "target_label": "__metrics_path__", "replacement": proxied},
            {**pod, "target_label": "instance"},
            {**pod, "target_label": "pod"},
        ],
    }
    return {"global": {"scrape_interval": f"{SCRAPE_S}s", "scrape_timeout": f"{SCRAPE_S}s"}, "scrape_configs": [job]}


@contextmanager
def telling(prometheus: Prometheus, metric: str, query: str) -> Iterator[list[float]]:
    """What Prometheus answers to ``query`` becomes the external ``metric``, again and again; all values so far."""
    told: list[float] = []
    stop = threading.Event()

    def tell() -> None:
        while not stop.wait(TOLD_S):
            if series := prometheus.query(query):
                told.append(float(series[0]["value"][1]))
                told_by(METRIC_PROGRAM, metric, f"{told[-1] * 1000:.0f}m")

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join()
