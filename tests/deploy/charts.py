"""Renders the chart, without a cluster."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
import yaml

from tests.deploy import helm
from tests.deploy.helm import CHART

#: Values with which everything is checked. Where they name no Kubernetes, Helm takes a new one: 1.36.
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "gpu": yaml.safe_load((CHART / "values-gpu.yaml").read_text(encoding="utf-8")),
    "hpa": {"autoscaling": {"engine": "hpa"}},
    "keda": {"autoscaling": {"engine": "keda", "keda": {"serverAddress": "http://prometheus:9090"}}},
    "canary by Ingress": {
        "canary": {"enabled": True, "weight": 5, "archive": {"source": "initContainer", "image": {"tag": "2.0"}}},
        "ingress": {"enabled": True, "tlsSecret": "certificate"},
        "networkPolicy": {"fromNamespaces": ["ingress-nginx"]},
        "service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
    },
    "canary by HTTPRoute": {
        "canary": {"enabled": True, "web": {"settings": {"request_deadline_s": 40}}},
        "httpRoute": {"enabled": True, "hostnames": ["pictures.example.com"]},
    },
    "monitored": {
        "monitoring": {
            "serviceMonitor": {"enabled": True, "apiKey": {"existingSecret": "key-of-prometheus"}},
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        },
        "tracing": {"endpoint": "http://collector.observability:4318"},
    },
    "secrets": {
        "secrets": {
            "apiKeys": {"existingSecret": "callers"},
            "cache": {"existingSecret": "redis"},
            "tls": {"existingSecret": "certificate"},
            "tracingHeaders": {"existingSecret": "collector"},
        },
        "image": {"registry": "registry.example.com/vision/", "pullSecrets": ["registry"]},
        "tracing": {"endpoint": "https://collector.example.com"},
        "monitoring": {"serviceMonitor": {"enabled": True}},
        "web": {"settings": {"fetch_pictures": True, "trusted_proxies": ["10.0.0.0/8", "::1"], "max_image_bytes": 5e7}},
    },
    "claim": {"archive": {"source": "claim", "claim": {"name": "archives", "subPath": "flowers"}}, "replicas": 1},
    "new": {"kubeVersion": "1.37", "archive": {"source": "imageVolume", "image": {"digest": f"sha256:{'0' * 64}"}}},
    "1.28": {"kubeVersion": "v1.28.3-eks-1", "archive": {"source": "initContainer"}},
    "old": {"kubeVersion": "1.20.2", "autoscaling": {"engine": "hpa", "hpa": {"metricType": "External"}}},
}
EVERY_CASE = pytest.mark.parametrize("values", CASES.values(), ids=CASES)


def render(values: dict[str, Any], name: str = "marserve") -> dict[str, str]:
    """What each template gives, by its file below templates/."""
    return _render(json.dumps(values), name)


@functools.cache
def _render(values: str, name: str) -> dict[str, str]:
    rendered = helm.render(json.loads(values), name=name, namespace="pictures")
    return {path.partition("/templates/")[2]: text for path, text in rendered.items()}


def resources(values: dict[str, Any], *kinds: str, name: str = "marserve") -> list[dict[str, Any]]:
    """All resources, or those of ``kinds``, as Helm sends them."""
    return [one for one in _parsed(json.dumps(values), name) if not kinds or one["kind"] in kinds]


@functools.cache
def _parsed(values: str, name: str) -> list[dict[str, Any]]:
    texts = [text for path, text in _render(values, name).items() if path.endswith(".yaml")]
    return [resource for text in texts for resource in yaml.load_all(text, yaml.CSafeLoader) if resource]


def pod_templates(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything that becomes a pod: metadata and spec."""
    found = resources(values, "Deployment", "Pod")
    return [resource["spec"]["template"] if resource["kind"] == "Deployment" else resource for resource in found]


def containers(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A pod's containers by name, those that run first and sidecars included."""
    spec = pod["spec"]
    return {one["name"]: one for one in [*spec.get("initContainers", []), *spec["containers"]]}


def environment(container: dict[str, Any]) -> dict[str, str]:
    """The variables that stand in the pod itself, and not in a Secret."""
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}
