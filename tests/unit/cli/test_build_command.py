"""What ``marserve build`` sees to before it builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from marserve.cli import build
from marserve.cli.main import main
from marserve.errors import MarserveError


def test_what_int8_needs_is_installed_before_the_pictures_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = []

    def ensure(group: str) -> None:
        wanted.append(group)
        raise MarserveError("no line to the world")

    monkeypatch.setattr(build, "ensure", ensure)
    status = main(["build", "--precision", "int8", "--calibration", str(tmp_path), "--output", str(tmp_path)])
    assert (status, wanted) == (1, ["int8"])
    assert "no line to the world" in capsys.readouterr().err
