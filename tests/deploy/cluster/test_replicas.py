"""The number of pods when something else begins to scale them. These wait for a node that is not there."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.cluster.throwaway import Cluster, own_namespace
from tests.deploy.helm import CHART

PODS = 3
WAITING: dict[str, Any] = {"replicas": PODS, "nodeSelector": {"nowhere": "to-be-found"}}
SCALED = WAITING | {"autoscaling": {"engine": "hpa", "hpa": {"metricType": "External", "metricName": "unknown"}}}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with own_namespace(f"marserve-{secrets.token_hex(3)}") as cluster:
        yield cluster


@pytest.mark.needs("kubernetes-cluster")
def test_an_upgrade_that_begins_to_scale_keeps_every_pod(cluster: Cluster) -> None:
    from helm_python import Chart, Config, HelmError  # only here: see tests/deploy/helm.py

    def pods() -> int:
        return int(cluster.get("deployment", "marserve")["spec"]["replicas"])

    with Config(namespace=cluster.namespace) as helm, Chart.load(CHART) as chart:
        helm.install(chart, "marserve", WAITING, namespace=cluster.namespace)
        # Helm would give the number up, and the server set its default, which is 1.
        with pytest.raises(HelmError, match=f"would begin with one pod in place of {PODS}") as refused:
            helm.upgrade(chart, "marserve", SCALED, namespace=cluster.namespace)
        assert pods() == PODS
        (command,) = re.findall(r"echo .*-f -$", str(refused.value), re.DOTALL | re.MULTILINE)
        subprocess.run(["bash", "-c", command], check=True, timeout=60)  # noqa: S607 - as the message says
        for annotation in ("first", "second"):  # later upgrades are not refused
            values = SCALED | {"podAnnotations": {"upgrade": annotation}}
            helm.upgrade(chart, "marserve", values, namespace=cluster.namespace)
            assert pods() == PODS
