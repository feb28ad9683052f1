"""Prometheus' own tool reads the configuration, and runs the rules on made-up series."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import REPOSITORY

MONITORING = REPOSITORY / "deploy" / "monitoring"
RULE_TESTS = sorted((MONITORING / "tests").glob("*.test.yml"))
RUNBOOK = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")


def rules(file: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / file).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.rules.yml")}


def promtool(*arguments: str | Path) -> None:
    """Run Prometheus' own tool."""
    command = ["promtool", *arguments]
    finished = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.needs("promtool")
def test_prometheus_accepts_the_configuration_and_its_rules() -> None:
    promtool("check", "config", "prometheus.yml")


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.name)
def test_rules_give_what_they_should(file: Path) -> None:
    promtool("test", "rules", file)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    cases = yaml.safe_load((MONITORING / "tests" / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
    expected = [
        bool(moment["exp_alerts"])
        for case in cases
        for moment in case["alert_rule_test"]
        if moment["alertname"] == alert
    ]
    assert set(expected) == {True, False}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_leads_to_its_entry_in_the_runbook(alert: str) -> None:
    assert f"### {alert}\n" in RUNBOOK
    assert ALERTS[alert]["annotations"]["runbook"] == f"docs/operations.md#{alert.lower()}"
    assert ALERTS[alert]["labels"]["severity"] in {"critical", "warning"}


def test_the_runbook_has_no_entry_for_an_alert_that_is_gone() -> None:
    section = RUNBOOK.split("## Runbook", 1)[1]
    assert re.findall(r"^### (\w+)$", section, re.MULTILINE) == list(ALERTS)
