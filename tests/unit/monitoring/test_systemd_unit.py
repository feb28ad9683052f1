"""The unit of systemd: its own tool reads it, and it keeps the rules that the supervisor counts on."""

from __future__ import annotations

import signal
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from marserve.supervision.notify import Notifier
from tests.support import REPOSITORY

UNIT = REPOSITORY / "deploy" / "systemd" / "marserve.service"


def settings() -> ConfigParser:
    parser = ConfigParser(interpolation=None, comment_prefixes=("#",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT, encoding="utf-8")
    return parser


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    installed = tmp_path / "marserve.service"
    # It looks whether the command is there.
    installed.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/marserve/bin/marserve", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", installed],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_services_outlive_their_supervisor() -> None:
    service = settings()["Service"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert service["KillMode"] == "process"
    assert service["OOMPolicy"] == "continue"  # the default ends everything for the sake of one worker
    assert float(service["RestartSec"]) <= 1
    assert settings()["Unit"]["StartLimitIntervalSec"] == "0"


def test_one_that_is_stopped_while_it_starts_stays_so() -> None:
    service = settings()["Service"]
    stopped = {128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    assert service["Restart"] == "on-failure"
    assert set(map(int, service["SuccessExitStatus"].split())) == stopped


def test_signs_of_life_come_twice_as_often_as_systemd_wants_them() -> None:
    watchdog_s = float(settings()["Service"]["WatchdogSec"])
    notifier = Notifier({"WATCHDOG_USEC": f"{watchdog_s * 1e6:.0f}"})
    assert notifier.every_s == watchdog_s / 2
