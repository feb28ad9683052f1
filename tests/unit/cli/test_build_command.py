"""What ``marserve build`` sees to before it builds."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from marserve.cli import build
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
