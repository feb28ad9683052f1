"""What the chart's pods are, and what leads to them."""

from __future__ import annotations

import math
from typing import Any

import helm_python as helm
import pytest
import yaml

import marserve
from marserve.web.server import WRITE_S
from marserve.web.settings import WebSettings
from tests.deploy.charts import CASES, CHART, containers, environment, pod_templates, render, resources
from tests.support import REPOSITORY

#: TorchServe's: inference, management, metrics, and both by gRPC.
INNER_PORTS = {8080, 8081, 8082, 7070, 7071}
EVERY_CASE = pytest.mark.parametrize("values", CASES.values(), ids=CASES)


def one(values: dict[str, Any], kind: str) -> dict[str, Any]:
    (resource,) = resources(values, kind)
    return resource


def policy_of_pods(values: dict[str, Any]) -> dict[str, Any]:
    policies = {one["metadata"]["name"]: one["spec"] for one in resources(values, "NetworkPolicy")}
    assert set(policies) == {"marserve", "marserve-test"}
    return dict(policies["marserve"])


def settings_of(pod: dict[str, Any]) -> WebSettings:
    """What the web service reads from its pod, but for files, which are not here."""
    variables = environment(containers(pod)["web"])
    return WebSettings.from_environment(
        {name: value for name, value in variables.items() if not value.startswith("/etc/marserve")}
    )


def numbers(value: object) -> set[int]:
    """All whole numbers anywhere in ``value``."""
    if isinstance(value, dict | list):
        return set[int]().union(*map(numbers, value.values() if isinstance(value, dict) else value))
    return {value} if type(value) is int else set()


def test_it_installs_this_version() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"] == marserve.__version__
    images = [container["image"] for container in containers(pod_templates({})[0]).values()]
    assert {image.rpartition(":")[2] for image in images} == {marserve.__version__}


def test_images_come_from_the_registry_named_and_a_digest_wins() -> None:
    digest = f"sha256:{'a' * 64}"
    image = {"registry": "registry.example.com/vision", "web": {"digest": digest}, "torchserve": {"tag": "2"}}
    found = containers(pod_templates({"image": image})[0])
    assert found["web"]["image"] == f"registry.example.com/vision/marserve-web@{digest}"
    assert found["torchserve"]["image"] == "registry.example.com/vision/marserve-torchserve:2"


@pytest.mark.parametrize("version", ["1.28", "1.29", "1.31.1-gke.7", "1.20.2"])
@pytest.mark.parametrize("wish", ["auto", "true", "false"])
def test_torchserve_is_a_native_sidecar_where_there_are_such(version: str, wish: str) -> None:
    pod = pod_templates({"kubeVersion": version, "torchserve": {"nativeSidecar": wish}})[0]
    native = wish == "true" or (wish == "auto" and version in {"1.29", "1.31.1-gke.7"})
    assert containers(pod)["torchserve"].get("restartPolicy") == ("Always" if native else None)
    assert [one["name"] for one in pod["spec"].get("initContainers", [])] == (["torchserve"] if native else [])
    # The pod's readiness is the web service's, which knows TorchServe's.
    assert [name for name, one in containers(pod).items() if "readinessProbe" in one] == ["web"]


@pytest.mark.parametrize(
    ("source", "directory", "volume"),
    [
        ("baked", "/models", None),
        ("imageVolume", "/archive/models", "image"),
        ("initContainer", "/archive/models", "emptyDir"),
        ("claim", "/archive/models", "persistentVolumeClaim"),
    ],
)
def test_one_value_says_where_the_archive_comes_from(source: str, directory: str, volume: str | None) -> None:
    pod = pod_templates({"archive": {"source": source, "claim": {"name": "archives"}}})[0]
    torchserve = containers(pod)["torchserve"]
    assert f"--archive={directory}" in torchserve["args"]
    found = [one for one in pod["spec"]["volumes"] if one["name"] == "archive"]
    assert [set(one) - {"name"} for one in found] == ([{volume}] if volume else [])
    mounts = [one for one in torchserve["volumeMounts"] if one["name"] == "archive"]
    assert all(one["readOnly"] and directory.startswith(one["mountPath"]) for one in mounts)
    assert len(mounts) == len(found)


@EVERY_CASE
def test_whatever_runs_is_restricted(values: dict[str, Any]) -> None:
    """By Kubernetes' Pod Security Standard of that name, and beyond it: no token, nothing written to the image."""
    for pod in pod_templates(values):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(spec)
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        allowed = {"name", "emptyDir", "secret", "persistentVolumeClaim", "image"}
        assert set().union(*spec.get("volumes", [])) <= allowed
        for container in containers(pod).values():
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["runAsNonRoot"] is True
            assert context["runAsUser"] > 0
            assert context["readOnlyRootFilesystem"] is True
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])


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


@EVERY_CASE
def test_a_pod_is_given_the_time_that_its_last_request_may_take(values: dict[str, Any]) -> None:
    for deployment in resources(values, "Deployment"):
        pod = deployment["spec"]["template"]
        grace = pod["spec"]["terminationGracePeriodSeconds"]
        settings = settings_of(pod)
        finish = settings.upload_deadline_s + settings.request_deadline_s + WRITE_S
        assert grace >= settings.drain_s + finish + 5  # and TorchServe ends in less than five seconds
        for container in containers(pod).values():
            assert container["name"] == "archive" or environment(container)["MARSERVE_GRACE_S"] == str(grace)


@pytest.mark.parametrize("upload", [30, 0.5, 59.2])
def test_the_grace_follows_the_settings(upload: float) -> None:
    values = {"drainSeconds": 7, "web": {"settings": {"upload_deadline_s": upload, "request_deadline_s": 20}}}
    assert pod_templates(values)[0]["spec"]["terminationGracePeriodSeconds"] == 7 + math.ceil(upload) + 20 + 10


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


@EVERY_CASE
def test_what_is_secret_stays_in_secrets(values: dict[str, Any]) -> None:
    assert not resources(values, "Secret", "ConfigMap")
    for pod in pod_templates(values):
        found = containers(pod)
        inner = [container for name, container in found.items() if name not in {"web", "classify"}]
        for container in inner:  # TorchServe's, and what copies an archive
            assert not any("valueFrom" in variable for variable in container.get("env", []))
            assert not {mount["name"] for mount in container["volumeMounts"]} & {"api-keys", "tls"}


def test_secrets_reach_the_web_service() -> None:
    pod = pod_templates(CASES["secrets"])[0]
    web = containers(pod)["web"]
    of_secrets = {one["name"]: one["valueFrom"] for one in web["env"] if "valueFrom" in one}
    assert of_secrets["MARSERVE_CACHE_URL"] == {"secretKeyRef": {"name": "redis", "key": "url"}}
    assert of_secrets["OTEL_EXPORTER_OTLP_HEADERS"] == {"secretKeyRef": {"name": "collector", "key": "headers"}}
    mounts = {mount["name"]: mount["mountPath"] for mount in web["volumeMounts"]}
    variables = environment(web)
    assert variables["MARSERVE_API_KEYS_FILE"] == f"{mounts['api-keys']}/keys"
    assert variables["MARSERVE_TLS_KEY"] == f"{mounts['tls']}/tls.key"
    assert {web[probe]["httpGet"]["scheme"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {
        "HTTPS"
    }


def test_settings_are_variables_with_plain_numbers() -> None:
    pod = pod_templates(CASES["secrets"])[0]
    assert environment(containers(pod)["web"])["MARSERVE_MAX_IMAGE_BYTES"] == "50000000"
    settings = settings_of(pod)
    assert settings.max_image_bytes == 50_000_000
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.fetch_pictures


@pytest.mark.parametrize("name", ["max_image_bytes", "max_image_pixels", "max_in_flight"])
def test_limits_of_pictures_hold_in_both_containers(name: str) -> None:
    pod = pod_templates({"web": {"settings": {name: 12345678}}})[0]
    for container in containers(pod).values():
        assert environment(container)[f"MARSERVE_{name.upper()}"] == "12345678"


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
    with pytest.raises(helm.HelmError, match=said):
        render({"autoscaling": autoscaling})


def test_a_query_of_ones_own_may_scale_to_nothing() -> None:
    keda = {"serverAddress": "http://p", "query": "sum(rate(nginx_requests[1m]))"}
    values = {"autoscaling": {"engine": "keda", "minReplicas": 0, "keda": keda}}
    assert one(values, "ScaledObject")["spec"]["minReplicaCount"] == 0


def test_a_claim_has_a_name() -> None:
    with pytest.raises(helm.HelmError, match=r"archive\.claim\.name says which"):
        render({"archive": {"source": "claim"}})


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
    assert all((beta in notes) == (beta in (policy, autoscaling)) for beta in ("policy/v1beta1", "autoscaling/v2beta2"))
    if version == "1.20.2":
        text = "".join(render(values).values())
        assert not [
            new for new in ("matchLabelKeys", "unhealthyPodEvictionPolicy", "restartPolicy: Always") if new in text
        ]


def test_a_lost_nodes_pod_is_replaced_soon() -> None:
    tolerations = pod_templates(CASES["gpu"])[0]["spec"]["tolerations"]
    assert {one.get("tolerationSeconds") for one in tolerations} == {30, None}
    assert tolerations[-1]["key"] == "nvidia.com/gpu"


def test_workers_on_a_gpu_have_one() -> None:
    torchserve = containers(pod_templates(CASES["gpu"])[0])["torchserve"]
    assert torchserve["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "--workers=4" in torchserve["args"]
    # Without a number, workers are as many as cores.
    assert not [one for one in containers(pod_templates({})[0])["torchserve"]["args"] if "workers" in one]


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
