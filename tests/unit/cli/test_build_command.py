"""What ``marserve build`` sees to before it builds."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest

from marserve.arguments import UsageError
from marserve.cli import build
from marserve.cli.main import read
from marserve.errors import MarserveError


def test_what_int8_needs_is_installed_before_the_pictures_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ensure(group: str) -> None:
        raise MarserveError(f"no line to install {group}")

    monkeypatch.setattr(build, "ensure", ensure)
    parser = argparse.ArgumentParser()
    build.add_arguments(parser)
    options = parser.parse_args(["--precision", "int8", "--calibration", str(tmp_path), "--output", str(tmp_path)])
    with pytest.raises(MarserveError, match="install int8"):
        build.run(options)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--arch", "resnet81"], "--arch: there is no 'resnet81'; did you mean resnet18?"),
        (["--arch", "xyzzy"], "--arch: there is no 'xyzzy'; --list-archs lists all"),
        (["--model-name", "a b/c"], "--model-name 'a b/c': use letters"),
        (["--version", "two"], "--version 'two': use numbers with dots"),
    ],
)
def test_wrong_choices_are_refused_before_anything_is_built(arguments: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        build.run(read("build", arguments))


def test_the_architectures_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.run(read("build", ["--list-archs"])) == 0
    assert {"resnet18", "efficientnet_lite0", "vit_b_16"} <= set(capsys.readouterr().out.split())


def test_a_check_builds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--check", "--weights", "untrained", "--output", str(tmp_path)]
    assert build.run(read("build", line)) == 0
    assert capsys.readouterr().out == f"{tmp_path}/resnet18.mar: would be built, weights: untrained (seed 18)\n"
    assert build.run(read("build", [*line, "--json"])) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rebuilt"], told["description"]["weights"]["trained"]) == (True, False)
    assert list(tmp_path.iterdir()) == []
