"""A real Prometheus with the project's configuration and rules scrapes a real stack under load."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from stack.ports import free_ports
from support import CAT, REPOSITORY
from tests.e2e.conftest import ServedStack

MONITORING = REPOSITORY / "deploy" / "monitoring"
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
    ("TorchServe's failures", "A"): "TorchServe fails no request here",
}
CALLERS = 4
LOAD_S = 15
SOON_S = 30


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that ``expression`` gives now, those without a number left out."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10)
        content = answer.json()
        assert content["status"] == "success", f"{expression}: {content}"
        return [series for series in content["data"]["result"] if series["value"][1] != "NaN"]

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """The same, once there are any."""
        give_up = time.monotonic() + SOON_S
        while not (found := self.query(expression)):
            assert time.monotonic() < give_up, f"{expression} gives nothing"
            time.sleep(0.5)
        return found


def configure(directory: Path, served: ServedStack) -> Path:
    """The project's own configuration, with the stack's ports and seconds for minutes."""
    for rules in MONITORING.glob("*.rules.yml"):
        shutil.copy(rules, directory)
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    ports = {"web": served.ports.web_port, "torchserve": served.ports.metrics_port}
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{ports.pop(job['job_name'])}"]}]
    assert not ports
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def prometheus(served: ServedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    executable = shutil.which("prometheus")
    if executable is None:
        if "CI" in os.environ:
            pytest.fail("This test needs Prometheus, from Debian's package prometheus")
        pytest.skip("no Prometheus on this machine (Debian's package prometheus)")
    directory = tmp_path_factory.mktemp("prometheus")
    (port,) = free_ports(1)
    command = [
        executable,
        f"--config.file={configure(directory, served)}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = directory / "prometheus.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/-/ready", process, log)
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + SOON_S
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < give_up, log.read_text()
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)


@pytest.fixture(scope="module")
def loaded(served: ServedStack, prometheus: Prometheus) -> Prometheus:
    """Prometheus, once it has seen some seconds of every kind of request."""
    prometheus.wait_for('up{job="torchserve"} == 1')
    until = time.monotonic() + LOAD_S
    callers = [threading.Thread(target=ask_until, args=(served.web, until, number)) for number in range(CALLERS)]
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
    (whole,) = loaded.query("sum(handler_batch_seconds_sum)")
    (parts,) = loaded.query("sum(handler_decode_seconds_total) + sum(handler_inference_seconds_total)")
    assert 0 < float(parts["value"][1]) <= float(whole["value"][1])
    (batch_size,) = loaded.query("sum(handler_requests_total) / sum(handler_batch_seconds_count)")
    assert 1 <= float(batch_size["value"][1]) <= 8


def test_refused_pictures_are_told_by_their_kind_and_nothing_else(loaded: Prometheus) -> None:
    kinds = {series["metric"]["ErrorType"] for series in loaded.query("handler_errors_total")}
    assert kinds == {"InvalidImage", "UnsupportedImage"}
