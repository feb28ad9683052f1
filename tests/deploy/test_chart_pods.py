"""What the chart's pods are: where their parts come from, how they start and end, and what they may."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

import marserve
from marserve.web.server import WRITE_S
from marserve.web.settings import WebSettings
from tests.deploy.charts import CASES, EVERY_CASE, containers, environment, pod_templates, render, resources
from tests.deploy.helm import CHART, HelmError


def settings_of(pod: dict[str, Any]) -> WebSettings:
    """What the web service reads from its pod, but for files, which are not here."""
    variables = environment(containers(pod)["web"])
    return WebSettings.from_environment(
        {name: value for name, value in variables.items() if not value.startswith("/etc/marserve")}
    )


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
    # The pod's readiness is the web service's, which knows TorchServe's. Old kubelets want one of each container.
    probes = {name: one["readinessProbe"] for name, one in containers(pod).items() if "readinessProbe" in one}
    assert probes["web"]["httpGet"]["path"] == "/readyz"
    alive = containers(pod)["torchserve"]["livenessProbe"]["exec"]
    assert probes.get("torchserve", {}).get("exec") == (None if native else alive)


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


@EVERY_CASE
def test_an_update_is_given_longer_than_a_pod_to_start(values: dict[str, Any]) -> None:
    for deployment in resources(values, "Deployment"):
        probe = containers(deployment["spec"]["template"])["torchserve"]["startupProbe"]
        assert deployment["spec"]["progressDeadlineSeconds"] > 1.5 * probe["periodSeconds"] * probe["failureThreshold"]


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


def test_a_claim_has_a_name() -> None:
    with pytest.raises(HelmError, match=r"archive\.claim\.name says which"):
        render({"archive": {"source": "claim"}})


def test_a_lost_nodes_pod_is_replaced_soon() -> None:
    tolerations = pod_templates(CASES["gpu"])[0]["spec"]["tolerations"]
    assert {one.get("tolerationSeconds") for one in tolerations} == {30, None}
    assert tolerations[-1]["key"] == "nvidia.com/gpu"


def test_workers_are_as_many_as_cores_on_a_gpu_too_unless_a_number_is_given() -> None:
    torchserve = containers(pod_templates(CASES["gpu"])[0])["torchserve"]
    assert torchserve["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert not [argument for argument in torchserve["args"] if "workers" in argument]
    few = containers(pod_templates({"torchserve": {"workers": 3}})[0])["torchserve"]
    assert "--workers=3" in few["args"]
