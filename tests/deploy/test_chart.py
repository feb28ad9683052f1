"""What is around the chart's pods: who reaches and chooses them, scales them, and how updates and drains treat them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.deploy.charts import CASES, EVERY_CASE, containers, environment, pod_templates, render, resources
from tests.deploy.helm import HelmError
from tests.support import REPOSITORY

#: TorchServe's: inference, management, metrics, and both by gRPC.
INNER_PORTS = {8080, 8081, 8082, 7070, 7071}


def one(values: dict[str, Any], kind: str) -> dict[str, Any]:
    (resource,) = resources(values, kind)
    return resource


def policy_of_pods(values: dict[str, Any]) -> dict[str, Any]:
    policies = {one["metadata"]["name"]: one["spec"] for one in resources(values, "NetworkPolicy")}
    assert set(policies) == {"marserve", "marserve-test"}
    return dict(policies["marserve"])


def numbers(value: object) -> set[int]:
    """All whole numbers anywhere in ``value``."""
    if isinstance(value, dict | list):
        return set[int]().union(*map(numbers, value.values() if isinstance(value, dict) else value))
    return {value} if type(value) is int else set()


@EVERY_CASE
def test_nothing_but_the_web_service_is_reachable(values: dict[str, Any]) -> None:
    for resource in resources(values, "Service", "NetworkPolicy", "Ingress", "HTTPRoute", "ServiceMonitor"):
        assert not numbers(resource["spec"]) & INNER_PORTS
    for service in resources(values, "Service"):
        assert [(port["targetPort"], port["protocol"]) for port in service["spec"]["ports"]] == [("http", "TCP")]
    for pod in pod_templates(values):
        ports = [port for container in containers(pod).values() for port in container.get("ports", [])]
        assert all((port["name"], port["containerPort"]) == ("http", 5000) for port in ports)
    policy = policy_of_pods(values)
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["ports"] for rule in policy["ingress"]] == [[{"port": 5000, "protocol": "TCP"}]]
    # An empty list of peers would be everybody.
    assert all(rule["from"] for rule in policy["ingress"])


@pytest.mark.parametrize(
    ("values", "ports"),
    [
        ({}, {53}),
        (CASES["monitored"], {53, 4318}),
        (CASES["secrets"], {53, 6379, 443, 80}),
        ({"networkPolicy": {"redisPort": 6380}, "secrets": {"cache": {"existingSecret": "redis"}}}, {53, 6380}),
        ({"tracing": {"endpoint": "http://10.0.0.7"}}, {53, 80}),
        ({"tracing": {"endpoint": "https://collector2/otlp"}}, {53, 443}),
        ({"tracing": {"endpoint": "http://[fd00::7]:4318/"}}, {53, 4318}),
    ],
)
def test_pods_reach_what_they_are_told_to_use_and_nothing_else(values: dict[str, Any], ports: set[int]) -> None:
    egress = policy_of_pods(values)["egress"]
    assert {port["port"] for rule in egress for port in rule["ports"]} == ports


def test_pictures_by_address_come_from_public_servers() -> None:
    egress = policy_of_pods(CASES["secrets"])["egress"]
    (rule,) = [rule for rule in egress if {"port": 80, "protocol": "TCP"} in rule["ports"]]
    assert {block["ipBlock"]["cidr"] for block in rule["to"]} == {"0.0.0.0/0", "::/0"}
    assert "10.0.0.0/8" in rule["to"][0]["ipBlock"]["except"]


def test_two_pods_are_updated_and_drained_one_by_one_and_neither_waits_for_the_other() -> None:
    deployment = one({}, "Deployment")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    budget = one({}, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1  # never minAvailable: with one pod it would keep a node for ever
    assert "minAvailable" not in budget
    for constraint in deployment["template"]["spec"]["topologySpreadConstraints"]:
        # With DoNotSchedule, the replacement of a lost node's pod would wait for that node.
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"


@EVERY_CASE
def test_whoever_chooses_pods_chooses_exactly_its_own(values: dict[str, Any]) -> None:
    deployments = resources(values, "Deployment")
    labels = {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in deployments}
    labels["test"] = resources(values, "Pod")[0]["metadata"]["labels"]

    def chosen(selector: dict[str, str]) -> set[str]:
        return {name for name, given in labels.items() if selector.items() <= given.items()}

    for deployment in deployments:
        name = deployment["metadata"]["name"]
        assert chosen(deployment["spec"]["selector"]["matchLabels"]) == {name}
        for constraint in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert chosen(constraint["labelSelector"]["matchLabels"]) == {name}
    for service in resources(values, "Service"):
        assert chosen(service["spec"]["selector"]) == {service["metadata"]["name"]}
    for budget in resources(values, "PodDisruptionBudget"):
        assert chosen(budget["spec"]["selector"]["matchLabels"]) == {budget["metadata"]["name"]}
    policies = [policy["spec"]["podSelector"]["matchLabels"] for policy in resources(values, "NetworkPolicy")]
    assert [chosen(selector) for selector in policies] == [set(labels) - {"test"}, {"test"}]
    services = [service["metadata"]["labels"].items() for service in resources(values, "Service")]
    for monitor in resources(values, "ServiceMonitor"):
        assert all(monitor["spec"]["selector"]["matchLabels"].items() <= labels for labels in services)


@pytest.mark.parametrize("engine", ["none", "hpa", "keda"])
def test_one_thing_scales_and_then_the_deployment_says_no_number(engine: str) -> None:
    values = {"autoscaling": {"engine": engine, "keda": {"serverAddress": "http://prometheus:9090"}}}
    scalers = [resource["kind"] for resource in resources(values, "HorizontalPodAutoscaler", "ScaledObject")]
    assert scalers == {"none": [], "hpa": ["HorizontalPodAutoscaler"], "keda": ["ScaledObject"]}[engine]
    assert ("replicas" in one(values, "Deployment")["spec"]) == (engine == "none")


def test_both_scale_on_requests_in_flight_from_two_pods_on_and_slowly_down() -> None:
    scaled = one(CASES["keda"], "ScaledObject")["spec"]
    assert scaled["minReplicaCount"] == one(CASES["hpa"], "HorizontalPodAutoscaler")["spec"]["minReplicas"] == 2
    assert "idleReplicaCount" not in scaled
    assert scaled["fallback"]["replicas"] >= 2
    (trigger,) = scaled["triggers"]
    assert "web_requests_in_flight" in trigger["metadata"]["query"]
    # What Prometheus does not know is no zero, and fallback needs an average.
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert trigger["metricType"] == "AverageValue"
    (metric,) = one(CASES["hpa"], "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "web_requests_in_flight"
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior == one(CASES["hpa"], "HorizontalPodAutoscaler")["spec"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300


@pytest.mark.parametrize(
    ("autoscaling", "said"),
    [
        ({"engine": "hpa", "minReplicas": 0}, "minReplicas 0 is for the engine keda"),
        ({"engine": "keda", "minReplicas": 0, "keda": {"serverAddress": "http://p"}}, "minReplicas 0 is for"),
        ({"engine": "hpa", "minReplicas": 9}, "is more than autoscaling.maxReplicas"),
        ({"engine": "keda"}, "autoscaling.keda.serverAddress says where"),
    ],
)
def test_what_could_never_scale_is_refused(autoscaling: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError, match=said):
        render({"autoscaling": autoscaling})


def test_a_query_of_ones_own_may_scale_to_nothing() -> None:
    keda = {"serverAddress": "http://p", "query": "sum(rate(nginx_requests[1m]))"}
    values = {"autoscaling": {"engine": "keda", "minReplicas": 0, "keda": keda}}
    assert one(values, "ScaledObject")["spec"]["minReplicaCount"] == 0


@pytest.mark.parametrize("case", ["canary by Ingress", "canary by HTTPRoute"])
def test_a_candidate_has_a_deployment_of_its_own_that_differs_where_it_says(case: str) -> None:
    stable, canary = resources(CASES[case], "Deployment")
    assert canary["metadata"]["name"] == "marserve-canary"
    assert (stable["spec"]["replicas"], canary["spec"]["replicas"]) == (2, 1)
    inner = [containers(one["spec"]["template"]) for one in (stable, canary)]
    if case == "canary by Ingress":
        assert [set(found) for found in inner] == [{"web", "torchserve"}, {"web", "torchserve", "archive"}]
        assert inner[1]["archive"]["image"] == "marserve-archive:2.0"
    else:
        assert [environment(found["web"]).get("MARSERVE_REQUEST_DEADLINE_S") for found in inner] == [None, "40"]
        grace = [one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] for one in (stable, canary)]
        assert grace[1] - grace[0] == 30
    assert inner[0]["web"]["image"] == inner[1]["web"]["image"]


def test_a_candidates_tag_wins_over_the_releases_digest() -> None:
    pinned = {"digest": f"sha256:{'a' * 64}"}
    image = {"web": pinned, "torchserve": pinned}
    values = {
        "image": image,
        "archive": {"source": "initContainer", "image": pinned},
        "canary": {
            "enabled": True,
            "image": {"torchserve": {"tag": "2.0"}},
            "archive": {"image": {"tag": "2.0", "digest": f"sha256:{'b' * 64}"}},
        },
    }
    stable, canary = (containers(one["spec"]["template"]) for one in resources(values, "Deployment"))
    assert {one["image"].partition("@")[2] for one in stable.values()} == {pinned["digest"]}
    assert canary["torchserve"]["image"] == "marserve-torchserve:2.0"
    assert canary["web"]["image"] == stable["web"]["image"]
    assert canary["archive"]["image"].endswith("b" * 64)


def test_shares_are_given_by_weights() -> None:
    stable, canary = resources(CASES["canary by Ingress"], "Ingress")
    assert "nginx.ingress.kubernetes.io/canary" not in stable["metadata"]["annotations"]
    assert canary["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] == "5"
    assert stable["spec"]["rules"][0]["host"] == canary["spec"]["rules"][0]["host"]
    services = [one["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] for one in (stable, canary)]
    assert services == ["marserve", "marserve-canary"]
    (rule,) = one(CASES["canary by HTTPRoute"], "HTTPRoute")["spec"]["rules"]
    assert [(one["name"], one["weight"]) for one in rule["backendRefs"]] == [("marserve", 90), ("marserve-canary", 10)]


@pytest.mark.parametrize(
    ("version", "policy", "autoscaling"),
    [
        ("1.20.2", "policy/v1beta1", "autoscaling/v2beta2"),
        ("1.22", "policy/v1", "autoscaling/v2beta2"),
        ("1.23", "policy/v1", "autoscaling/v2"),
    ],
)
def test_old_clusters_get_the_versions_they_have_and_the_notes_say_so(
    version: str, policy: str, autoscaling: str
) -> None:
    values = {"kubeVersion": version, "autoscaling": {"engine": "hpa"}}
    assert one(values, "PodDisruptionBudget")["apiVersion"] == policy
    assert one(values, "HorizontalPodAutoscaler")["apiVersion"] == autoscaling
    notes = render(values)["NOTES.txt"]
    assert ("old Kubernetes" in notes) == (version != "1.23")
    assert ("kubectl label namespace kube-system" in notes) == (version == "1.20.2")
    assert all((beta in notes) == (beta in (policy, autoscaling)) for beta in ("policy/v1beta1", "autoscaling/v2beta2"))
    if version == "1.20.2":
        text = "".join(render(values).values())
        assert not [
            new for new in ("matchLabelKeys", "unhealthyPodEvictionPolicy", "restartPolicy: Always") if new in text
        ]


@pytest.mark.parametrize("release", ["marserve", "vision", "a" * 53])
def test_names_fit(release: str) -> None:
    values = CASES["canary by HTTPRoute"]
    found = resources(values, name=release)
    names = {(one["kind"], one["metadata"]["name"]) for one in found}
    assert len(names) == len(found)
    assert max(len(name) for kind, name in names if kind == "Service") <= 63
    if release == "vision":
        assert ("Deployment", "vision-marserve") in names


@EVERY_CASE
def test_the_notes_teach(values: dict[str, Any]) -> None:
    notes = render(values)["NOTES.txt"]
    assert "helm test marserve -n pictures --logs" in notes
    assert ("A candidate runs beside" in notes) == ("canary" in values)
    assert ("There is one pod" in notes) == (values.get("replicas") == 1)
    assert ("Whoever reaches it may send pictures" in notes) == ("secrets" not in values)


def test_monitoring_has_the_rules_of_deploy_monitoring_and_scrapes_what_they_are_about() -> None:
    """One source: what differs are the names of the jobs."""
    jobs = {"web": "marserve", "torchserve": "marserve-torchserve"}
    source = []
    for file in ("recording", "alerts"):
        text = (REPOSITORY / "deploy" / "monitoring" / f"{file}.rules.yml").read_text(encoding="utf-8")
        for job, own in jobs.items():
            text = text.replace(f'job="{job}"', f'job="{own}"')
        source += [group["rules"] for group in yaml.safe_load(text)["groups"]]
    groups = one(CASES["monitored"], "PrometheusRule")["spec"]["groups"]
    assert [group["rules"] for group in groups] == source
    endpoints = one(CASES["monitored"], "ServiceMonitor")["spec"]["endpoints"]
    assert {one["path"]: one["relabelings"] for one in endpoints} == {
        "/metrics": [{"targetLabel": "job", "replacement": "marserve"}],
        "/metrics/torchserve": [{"targetLabel": "job", "replacement": "marserve-torchserve"}],
    }
    assert {one["authorization"]["credentials"]["name"] for one in endpoints} == {"key-of-prometheus"}


def test_no_test_loads_helms_library_into_this_process() -> None:
    files = (REPOSITORY / "tests").rglob("*.py")
    at_the_top = re.compile(r"^(import|from) helm_python", re.MULTILINE)
    assert [file.name for file in files if at_the_top.search(file.read_text(encoding="utf-8"))] == []
