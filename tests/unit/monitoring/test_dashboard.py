"""The dashboard's form; no Grafana is at hand, so what it makes of the file is not tested.

tests/e2e/test_monitoring.py asks every query of a real Prometheus.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import REPOSITORY

DASHBOARD: dict[str, Any] = json.loads(
    (REPOSITORY / "deploy" / "monitoring" / "grafana-dashboard.json").read_text(encoding="utf-8")
)
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERY_PANELS = [panel for panel in PANELS if panel["type"] != "row"]
#: Columns of Grafana's grid.
COLUMNS = 24


def test_grafana_finds_what_it_needs_to_import_it() -> None:
    assert DASHBOARD["schemaVersion"] >= 38
    assert DASHBOARD["uid"]
    assert DASHBOARD["title"]
    assert DASHBOARD["id"] is None  # Grafana gives one; any other would overwrite another dashboard


def test_the_datasource_is_chosen_by_whoever_looks() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert all(panel["datasource"] == chosen for panel in QUERY_PANELS)
    assert variables["model"]["datasource"] == chosen


def test_panels_have_ids_of_their_own() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("panel", QUERY_PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    targets = panel["targets"]
    assert targets
    assert len({target["refId"] for target in targets}) == len(targets)
    assert all(target["expr"] for target in targets)


def test_panels_do_not_overlap() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & own, panel["title"]
        cells |= own
