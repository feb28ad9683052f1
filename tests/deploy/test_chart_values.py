"""What may be set: described, known to the schema, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from docs.chart_readme import described, render
from marserve.web.settings import WebSettings
from tests.deploy.helm import CHART, HelmValuesError, check_values

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
#: Settings that follow from other values, or are a matter of the run directory.
NOT_SETTINGS = {
    *("web_host", "web_port", "inference_url", "management_url", "key_file", "drain_s", "grace_s"),
    *("rollout_file", "quarantine_file", "supervision_file", "web_lock", "metrics_url"),
    *("api_keys", "api_keys_file", "cache_url", "tls_certificate", "tls_key", "tls_published"),
}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def properties(path: str) -> dict[str, Any]:
    schema = SCHEMA
    for key in filter(None, path.split(".")):
        schema = resolved(schema["properties"][key])
    return dict(schema.get("properties", {}))


def maps(values: dict[str, Any], path: str = "") -> Iterator[str]:
    """The paths of all maps whose keys are the chart's."""
    if properties(path):
        yield path
        for key, value in values.items():
            if isinstance(value, dict):
                yield from maps(value, f"{path}.{key}".lstrip("."))


def nested(path: str, key: str) -> dict[str, Any]:
    values: dict[str, Any] = {key: 1}
    for part in reversed(path.split(".") if path else []):
        values = {part: values}
    return values


@pytest.mark.parametrize("path", list(maps(VALUES)))
def test_a_key_that_the_chart_does_not_know_is_refused(path: str) -> None:
    with pytest.raises(HelmValuesError, match="misspelt"):
        check_values(nested(path, "misspelt"))


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": "two"},
        {"archive": {"source": "sidecar"}},
        {"image": {"web": {"digest": "sha256:short"}}},
        {"autoscaling": {"engine": "both"}},
        {"canary": {"weight": 101}},
        {"disruption": {"maxUnavailable": 0}},
        {"web": {"settings": {"max_in_flight": 0}}},
        {"web": {"settings": {"api_keys": "0123456789abcdef"}}},
        {"service": {"port": 70000}},
        {"networkPolicy": {"dns": []}},
    ],
    ids=json.dumps,
)
def test_what_cannot_be_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(HelmValuesError):
        check_values(values)


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    free = {"web.settings", "canary.archive", "canary.image", "canary.web", "canary.torchserve"}
    for path in maps(VALUES):
        value: Any = VALUES
        for key in filter(None, path.split(".")):
            value = value[key]
        if not path.startswith(tuple(free)):
            assert set(value) == set(properties(path)) - {"global"}, path


def test_every_object_of_the_schema_says_whether_it_takes_other_keys() -> None:
    def objects(schema: object) -> Iterator[dict[str, Any]]:
        if isinstance(schema, dict):
            if "properties" in schema and isinstance(schema.get("type"), str):
                yield schema
            for value in schema.values():
                yield from objects(value)

    assert [one for one in objects(SCHEMA) if one.get("additionalProperties") is not False] == []


def test_the_web_services_settings_are_all_there() -> None:
    settings = SCHEMA["definitions"]["settings"]["properties"]
    assert set(settings) == set(WebSettings.model_fields) - NOT_SETTINGS


def test_every_value_is_described() -> None:
    told = {value.path for value in described((CHART / "values.yaml").read_text(encoding="utf-8"))}

    def leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
        for key, value in values.items():
            here = f"{path}.{key}".lstrip(".")
            if here in told:
                continue
            if isinstance(value, dict) and value:
                yield from leaves(value, here)
            else:
                yield here

    assert list(leaves(VALUES)) == []


def test_the_readme_is_current() -> None:
    """Else: .venv/bin/python docs/chart_readme.py."""
    assert (CHART / "README.md").read_text(encoding="utf-8") == render()
