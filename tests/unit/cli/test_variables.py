"""Environment variables under their new and their old names."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from marserve.stack.ports import Ports
from marserve.variables import OLD_NAMES, prepare_environment, variable
from marserve.web.settings import WebSettings


def test_every_setting_that_had_an_old_name_is_read_under_its_new_one() -> None:
    settings = {*WebSettings.model_fields, *(field.name for field in fields(Ports)), "classify_api_key"}
    assert {name.lower() for name in OLD_NAMES} <= settings


def test_an_old_name_is_read_with_one_line_that_names_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"WEB_PORT": "6000", "DRAIN_S": "2", "PATH": "/bin"}
    prepare_environment(environ)
    assert environ["MARSERVE_WEB_PORT"] == "6000"
    assert environ["MARSERVE_DRAIN_S"] == "2"
    (line,) = capsys.readouterr().err.splitlines()
    assert "WEB_PORT is now MARSERVE_WEB_PORT, DRAIN_S is now MARSERVE_DRAIN_S" in line
    prepare_environment(environ)  # as a child process does
    assert not capsys.readouterr().err


def test_a_new_name_wins_and_an_empty_old_one_counts_as_not_set(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"WEB_PORT": "6000", "MARSERVE_WEB_PORT": "7000", "API_KEYS": ""}
    prepare_environment(environ)
    assert environ["MARSERVE_WEB_PORT"] == "7000"
    assert "MARSERVE_API_KEYS" not in environ
    assert not capsys.readouterr().err


def test_what_kubernetes_makes_of_the_names_of_services_is_no_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """Of ``web`` and ``marserve-web``, where a pod has not turned them off."""
    environ = {"WEB_PORT": "tcp://10.96.0.6:80", "MARSERVE_WEB_PORT": "tcp://10.96.0.7:5000", "MARSERVE_DRAIN_S": "5"}
    prepare_environment(environ)
    assert environ == {"WEB_PORT": "tcp://10.96.0.6:80", "MARSERVE_DRAIN_S": "5"}
    assert Ports.from_environment(environ) == Ports()
    mistake = {"MARSERVE_CACHE_URL": "tcp://redis:6379"}
    prepare_environment(mistake)
    assert mistake == {"MARSERVE_CACHE_URL": "tcp://redis:6379"}, "it is to be refused, not to go unnoticed"
    assert not capsys.readouterr().err


def test_a_relative_path_means_the_directory_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"API_KEYS_FILE": "keys.txt", variable("home"): "state"}
    prepare_environment(environ)
    assert environ["MARSERVE_API_KEYS_FILE"] == str(tmp_path / "keys.txt")
    assert environ["MARSERVE_HOME"] == str(tmp_path / "state")


@pytest.mark.parametrize("module", ["marserve", "marserve.web"])
def test_every_command_reads_them(module: str) -> None:
    arguments = ["stop"] if module == "marserve" else []
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], env=os.environ | {"WEB_PORT": "none"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode
    assert "WEB_PORT is now MARSERVE_WEB_PORT" in done.stderr
    assert "MARSERVE_WEB_PORT" in done.stderr.splitlines()[1]
