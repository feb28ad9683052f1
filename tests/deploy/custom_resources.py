"""Definitions of custom resources, as KEDA, KServe and KubeRay install them, and what they say of manifests."""

from __future__ import annotations

import functools
from typing import Any

import jsonschema
import yaml

from tests.support import CRDS

#: The file of each kind whose definition is at hand.
DEFINITIONS = {
    "ScaledObject": "keda.sh_scaledobjects.yaml",
    "RayJob": "ray.io_rayjobs.yaml",
    "InferenceService": "serving.kserve.io_inferenceservices.yaml",
}


def check(resource: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError where the definition does not know something, misspelt keys included."""
    version, schema = definition(resource["kind"])
    assert resource["apiVersion"] == version
    jsonschema.validate(resource, schema)


@functools.cache
def definition(kind: str) -> tuple[str, Any]:
    """Its version, and the schema that takes nothing else."""
    (content,) = filter(None, yaml.load_all((CRDS / DEFINITIONS[kind]).read_text(encoding="utf-8"), yaml.CSafeLoader))
    (version,) = [one for one in content["spec"]["versions"] if one["served"] and one["storage"]]
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return f"{content['spec']['group']}/{version['name']}", schema


def closed(schema: Any) -> Any:
    """``schema`` without other properties than those it names: the server would drop what is misspelt."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    return inner
