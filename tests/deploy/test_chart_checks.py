"""What others' tools say of the chart: Helm, Kubernetes' schemas, those of custom resources, checkov and Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy import helm
from tests.deploy.charts import CASES, EVERY_CASE, resources
from tests.deploy.custom_resources import check
from tests.support import REPOSITORY

#: Custom resources whose definitions are at hand.
CUSTOM = {"ScaledObject"}
#: Those whose definitions are not: only this project's own tests look at them.
UNCHECKED = {"HTTPRoute", "PrometheusRule", "ServiceMonitor"}
#: What the oldest schemas have in place of versions that are older still; the fields are the same.
SUCCESSORS = {"policy/v1beta1": "policy/v1", "autoscaling/v2beta2": "autoscaling/v2"}
OLDEST_SCHEMAS, DEFAULT_VERSION = (1, 25), "1.36"


@EVERY_CASE
def test_helm_finds_nothing_to_complain_of(values: dict[str, Any]) -> None:
    report = helm.lint(values, namespace="pictures", kube_version=values.get("kubeVersion"))
    assert report["errors"] == []
    assert [one["error"] for one in report["messages"]] == ["icon is recommended"]


def schema_version(values: dict[str, Any]) -> str:
    version = values.get("kubeVersion", DEFAULT_VERSION).lstrip("v")
    numbers = tuple(int(part) for part in version.split(".")[:2])
    return ".".join(map(str, max(numbers, OLDEST_SCHEMAS)))


@EVERY_CASE
def test_kubernetes_knows_every_field(values: dict[str, Any]) -> None:
    kinds = set[str]()
    for resource in resources(values):
        if resource["kind"] in {*CUSTOM, *UNCHECKED}:
            continue
        version = resource["apiVersion"]
        known = resource | {"apiVersion": SUCCESSORS.get(version, version)}
        kubernetes_validate.validate(known, schema_version(values), strict=True)  # raises, of unknown kinds as well
        kinds.add(resource["kind"])
    assert {"Deployment", "NetworkPolicy", "PodDisruptionBudget", "Pod", "Service", "ServiceAccount"} <= kinds


@pytest.mark.needs("custom-resource-definitions")
@EVERY_CASE
def test_custom_resources_are_what_their_definitions_say(values: dict[str, Any]) -> None:
    for resource in resources(values, *CUSTOM):
        check(resource)


def test_kinds_that_no_schema_is_at_hand_for_are_known() -> None:
    custom = {one["kind"] for values in CASES.values() for one in resources(values) if "." in one["apiVersion"]}
    own = {"NetworkPolicy", "Ingress"}
    assert custom - own == UNCHECKED | set(CUSTOM)


@pytest.mark.needs("checkov")
def test_checkov_fails_nothing_and_what_it_skips_has_a_reason(tmp_path: Path) -> None:
    for case, values in CASES.items():
        texts = [yaml.safe_dump(resource) for resource in resources(values)]
        (tmp_path / f"{case.replace(' ', '-')}.yaml").write_text("---\n".join(texts), encoding="utf-8")
    command = [
        "checkov",
        "--directory",
        str(tmp_path),
        "--framework",
        "kubernetes",
        "--skip-download",
        "--output",
        "json",
    ]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    report = json.loads(finished.stdout)
    failed = {(one["check_id"], one["check_name"], one["resource"]) for one in report["results"]["failed_checks"]}
    assert failed == set()
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 2000
    reasons = {
        (one["check_id"], one["check_result"]["suppress_comment"]) for one in report["results"]["skipped_checks"]
    }
    assert {check for check, _ in reasons} == {"CKV_K8S_8", "CKV_K8S_9", "CKV_K8S_15", "CKV_K8S_35", "CKV_K8S_43"}
    assert all(len(reason.split()) > 3 for _, reason in reasons)


def promtool(directory: Path, rules: object, tests: object) -> None:
    """Run Prometheus' tests of rules. Raises AssertionError with what it says."""
    (directory / "rules.yml").write_text(yaml.safe_dump({"groups": rules}), encoding="utf-8")
    file = directory / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": tests}), encoding="utf-8")
    command = ["promtool", "test", "rules", str(file)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("name", ["alerts", "recording"])
def test_the_charts_rules_pass_the_tests_of_deploy_monitoring_with_the_releases_jobs(name: str, tmp_path: Path) -> None:
    text = (REPOSITORY / "deploy" / "monitoring" / "tests" / f"{name}.test.yml").read_text(encoding="utf-8")
    for job, own in {"web": "marserve", "torchserve": "marserve-torchserve"}.items():
        text = re.sub(rf'job(=|: )"{job}"', rf'job\1"{own}"', text)
    (rules,) = resources(CASES["monitored"], "PrometheusRule")
    promtool(tmp_path, rules["spec"]["groups"], yaml.safe_load(text)["tests"])


@pytest.mark.needs("promtool")
def test_what_scales_is_the_number_of_requests_in_flight_of_this_releases_own_pods(tmp_path: Path) -> None:
    (scaled,) = resources(CASES["keda"], "ScaledObject")
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    series = {
        'job="marserve",namespace="pictures",pod="a",track="stable"': 12,
        'job="marserve",namespace="pictures",pod="b",track="stable"': 6,
        'job="marserve",namespace="pictures",pod="c",track="canary"': 100,
        'job="marserve",namespace="others",pod="d",track="stable"': 1000,
    }
    given = [
        {"series": f"web_requests_in_flight{{{labels}}}", "values": f"{value}x20"} for labels, value in series.items()
    ]
    expected = [{"expr": query, "eval_time": "2m", "exp_samples": [{"value": 18}]}]
    promtool(tmp_path, [], [{"interval": "15s", "input_series": given, "promql_expr_test": expected}])


def test_the_package_has_the_rules_themselves_and_not_a_link(tmp_path: Path) -> None:
    helm.package_and_expand(tmp_path)
    for name in ("alerts", "recording"):
        packed = tmp_path / "marserve" / "files" / f"{name}.rules.yml"
        assert not packed.is_symlink()
        assert packed.read_bytes() == (REPOSITORY / "deploy" / "monitoring" / f"{name}.rules.yml").read_bytes()
