"""docs/operations.md names every metric that there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from marserve.web.metrics import SupervisionMetrics, WebMetrics, WorkerMetrics
from tests.support import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
#: Name, unit and meaning of each documented metric.
DOCUMENTED = {
    row[0]: row[1:]
    for row in re.findall(r"^\| `(\w+)(?:\{[^`]*\})?` \| ([^|]+) \| ([^|]+) \|$", DOCUMENT, re.MULTILINE)
}
#: Declared so that stock handlers' figures are not lost; this project's handler does not emit it.
NOT_OURS = {"HandlerTime"}


def declared(section: str) -> dict[str, dict[str, Any]]:
    content = yaml.safe_load((REPOSITORY / "config" / "metrics.yaml").read_text(encoding="utf-8"))
    return {metric["name"]: metric for metrics in content[section].values() for metric in metrics}


def web_metrics() -> set[str]:
    metrics = WebMetrics()
    own = [family for family in metrics.registry.collect() if not family.name.startswith("process_")]
    families = [*own, *SupervisionMetrics(Path()).describe()]
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    return names | {family.name for family in WorkerMetrics(None).describe()}  # type: ignore[arg-type]


def test_the_handlers_and_the_web_services_metrics_are_all_documented() -> None:
    handler = {name for name in declared("model_metrics") if name.startswith("handler_")}
    documented = {name for name in DOCUMENTED if name.startswith(("handler_", "web_", "supervisor_"))}
    assert documented == handler | web_metrics()


@pytest.mark.parametrize("name", sorted(set(DOCUMENTED) - web_metrics()))
def test_documented_metrics_of_torchserve_are_declared(name: str) -> None:
    assert name in (declared("model_metrics") | declared("ts_metrics")).keys() - NOT_OURS
