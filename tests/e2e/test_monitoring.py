"""A real Prometheus with the project's configuration and rules scrapes a real stack under load."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator

import pytest
import requests
import yaml

from tests.e2e.prometheus import MONITORING, Prometheus, running_prometheus
from tests.e2e.serving import SharedStack
from tests.support import CAT

DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))
QUERIES = [
    (panel["title"], target["refId"], target["expr"])
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", [])
]
RECORDING_RULES = {
    rule["record"]: rule["expr"]
    for group in yaml.safe_load((MONITORING / "recording.rules.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
#: What Grafana would put in.
VARIABLES = {"$__rate_interval": "1m", "$model": ".*"}
#: Queries that have nothing to show in a healthy stack, and why.
EMPTY_WHILE_HEALTHY = {
    ("Refused", "A"): "nothing is refused before work below the limits",
    ("Refused", "C"): "everything is in time, and nobody leaves",
    ("TorchServe's failures", "A"): "TorchServe fails no request here",
}
CALLERS = 4
LOAD_S = 15
pytestmark = pytest.mark.needs("prometheus")


@pytest.fixture(scope="module")
def prometheus(shared: SharedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), shared.as_started().ports) as running:
        yield running


@pytest.fixture(scope="module")
def loaded(shared: SharedStack, prometheus: Prometheus) -> Prometheus:
    """Prometheus, once it has seen some seconds of every kind of request."""
    prometheus.wait_for('up{job="torchserve"} == 1')
    until = time.monotonic() + LOAD_S
    callers = [threading.Thread(target=ask_until, args=(shared.stack.web, until, number)) for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    prometheus.wait_for("model:queue_seconds:mean5m and on () (scrape_samples_scraped > 0)")
    return prometheus


def ask_until(web: str, until: float, number: int) -> None:
    cat = CAT.read_bytes()
    count = 0
    with requests.Session() as session:
        while time.monotonic() < until:
            # What stands behind a JPEG's end is not read, but makes another picture for the cache.
            fresh = cat + f"{number} {count}".encode()
            model = ("resnet18", "efficientnet_lite0")[count % 2]
            session.post(f"{web}/predict?model={model}", data=fresh, timeout=60)
            if count % 5 == 0:
                ask_rarer_things(session, web, cat)
            count += 1


def ask_rarer_things(session: requests.Session, web: str, cat: bytes) -> None:
    for path, body in (("predict", cat), ("predict", cat[:5000]), ("predict", b"text"), ("explain", cat)):
        session.post(f"{web}/{path}?model=efficientnet_lite0", data=body, timeout=60)
    picture = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(cat).decode()]}
    session.post(f"{web}/v2/models/efficientnet_lite0/infer", json={"inputs": [picture]}, timeout=60)


def fill_in(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


@pytest.mark.parametrize(("title", "ref_id", "expression"), QUERIES, ids=lambda part: str(part)[:30])
def test_the_dashboards_query_shows_something(loaded: Prometheus, title: str, ref_id: str, expression: str) -> None:
    assert loaded.query(fill_in(expression)) or (title, ref_id) in EMPTY_WHILE_HEALTHY


def test_rules_know_every_route_that_takes_pictures(loaded: Prometheus) -> None:
    seen = loaded.query('web_requests_total{method="POST", status="200"}')
    (selector,) = re.findall(r'route=~"[^"]+"', RECORDING_RULES["web:picture_requests:rate5m"])
    known = loaded.query(f'web_requests_total{{method="POST", status="200", {selector}}}')
    assert len(known) == len(seen)
    # Other tests on the same stack may have asked others as well.
    assert {series["metric"]["route"] for series in seen} >= {"/predict", "/explain", "/v2/models/{model}/infer"}


def test_the_dashboards_choice_of_models_is_what_is_served(loaded: Prometheus) -> None:
    names = {series["metric"]["model"] for series in loaded.query("web_model_workers")}
    assert names == {"resnet18", "efficientnet_lite0"}


@pytest.mark.parametrize("rule", RECORDING_RULES)
def test_the_recording_rule_has_a_value(loaded: Prometheus, rule: str) -> None:
    assert loaded.query(rule)


def test_no_alert_is_near_while_the_stack_is_healthy(loaded: Prometheus) -> None:
    assert loaded.query("ALERTS") == []


def test_the_handlers_times_fit_together(loaded: Prometheus) -> None:
    """The parts of a batch are no longer than the whole, and TorchServe counts no request twice."""
    # In one query: between two there may be new figures.
    parts = "(sum(handler_decode_seconds_total) + sum(handler_inference_seconds_total))"
    (share,) = loaded.query(f"{parts} / sum(handler_batch_seconds_sum)")
    assert 0 < float(share["value"][1]) <= 1
    (batch_size,) = loaded.query("sum(handler_pictures_total) / sum(handler_batch_seconds_count)")
    assert 1 <= float(batch_size["value"][1]) <= 8


def test_refused_pictures_are_told_by_their_kind_and_nothing_else(loaded: Prometheus) -> None:
    # Other tests on the same stack may have sent worse before.
    kinds = {series["metric"]["ErrorType"] for series in loaded.query("increase(handler_errors_total[1m]) > 0")}
    assert kinds == {"InvalidImage", "UnsupportedImage"}
