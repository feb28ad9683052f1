"""KServe's manifests before its own definition, and beside the chart, whose pods they have."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.charts import pod_templates, resources
from tests.deploy.custom_resources import check
from tests.deploy.helm import CHART
from tests.support import REPOSITORY

KSERVE = REPOSITORY / "deploy" / "kserve"
SERVED = "serving.kserve.io/inferenceservice"


def read(name: str) -> Any:
    return yaml.safe_load((KSERVE / name).read_text(encoding="utf-8"))


@pytest.fixture
def service() -> Any:
    return read("inferenceservice.yaml")


@pytest.fixture
def patched(service: Any) -> Any:
    """With the canary, as a merge patch leaves it."""
    service["spec"] |= read("canary.yaml")["spec"]
    return service


@pytest.mark.needs("custom-resource-definitions")
def test_kserve_knows_every_field(patched: Any) -> None:
    check(patched)


@pytest.mark.needs("custom-resource-definitions")
def test_a_misspelt_key_is_found(service: Any) -> None:
    misspelt = copy.deepcopy(service)
    misspelt["spec"]["predictor"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(jsonschema.ValidationError, match="readynessProbe"):
        check(misspelt)


def chart_pod() -> Any:
    """The chart's, with TorchServe as a container beside the web service, which ends after it by itself."""
    (pod,) = [
        one["spec"] for one in pod_templates({"torchserve": {"nativeSidecar": False}}) if "volumes" in one["spec"]
    ]
    return pod


def test_its_containers_are_the_charts(service: Any) -> None:
    predictor, pod = service["spec"]["predictor"], chart_pod()
    web, torchserve = pod["containers"]
    assert predictor["containers"] == [web | {"name": "kserve-container"}, torchserve]


def test_its_pods_are_the_charts(service: Any) -> None:
    predictor, pod = service["spec"]["predictor"], chart_pod()
    same = set(pod) - {"containers", "serviceAccountName", "topologySpreadConstraints"}
    assert {key: predictor.get(key) for key in same} == {key: pod[key] for key in same}
    (hosts,) = predictor["topologySpreadConstraints"]
    selector = {"matchLabels": {SERVED: service["metadata"]["name"]}}
    assert hosts == pod["topologySpreadConstraints"][0] | {"labelSelector": selector}


def test_it_is_updated_disrupted_and_scaled_as_the_chart_is(service: Any) -> None:
    predictor, values = (
        service["spec"]["predictor"],
        yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")),
    )
    keda = {"engine": "keda", "keda": {"serverAddress": "http://prometheus"}}
    deployment, scaled, budget = (
        resources({"autoscaling": keda}, kind)[0]["spec"]
        for kind in ("Deployment", "ScaledObject", "PodDisruptionBudget")
    )
    assert predictor["deploymentStrategy"] == deployment["strategy"]
    assert predictor["minReplicas"] == scaled["minReplicaCount"]
    assert predictor["maxReplicas"] == scaled["maxReplicaCount"]
    (metric,) = predictor["autoScaling"]["metrics"]
    assert metric["external"]["target"] == {"type": "Value", "value": str(values["autoscaling"]["inFlightPerPod"])}
    chosen = metric["external"]["metric"]["query"]
    assert chosen.startswith("sum(avg_over_time(web_requests_in_flight{")
    assert chosen.partition("}")[2] == scaled["triggers"][0]["metadata"]["query"].partition("}")[2]
    own = read("poddisruptionbudget.yaml")["spec"]
    assert own.pop("selector") == {"matchLabels": {SERVED: service["metadata"]["name"]}}
    assert own == {key: budget[key] for key in own}


def test_a_canary_differs_by_its_archive_and_is_not_scaled(patched: Any) -> None:
    predictor = patched["spec"]["predictor"]
    (canary,) = patched["spec"]["canary"]
    assert canary["predictor"]["name"]  # KServe wants one
    assert not {"maxReplicas", "autoScaling", "scaleTarget", "scaleMetric"} & set(canary["predictor"])
    (web, torchserve), (its_web, its_torchserve) = predictor["containers"], canary["predictor"]["containers"]
    assert its_web == web
    assert its_torchserve.pop("image") != torchserve.pop("image")
    assert its_torchserve == torchserve


@pytest.mark.parametrize("name", ["inferenceservice.yaml", "canary.yaml", "poddisruptionbudget.yaml"])
def test_the_readme_names_each_file(name: str) -> None:
    assert name in (KSERVE / "README.md").read_text(encoding="utf-8")


def test_no_file_names_what_kserve_ignores_in_standard_mode() -> None:
    for file in Path(KSERVE).glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        assert "canaryTrafficPercent" not in text
        assert "scaleMetric" not in text
