"""The options of ``marserve serve``."""

from __future__ import annotations

from pathlib import Path

import pytest

from marserve.cli.main import read
from marserve.cli.serve import stack_options
from marserve.stack.options import Options
from tests.support import CAT


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Options()),
        (["--detach"], Options(detach=True)),
        (["--weights", "untrained"], Options(weights="untrained")),
        (["--weights", str(CAT), "--labels", str(CAT)], Options(weights=CAT, labels=CAT)),
        (["--precision", "bf16", "--workers", "3"], Options(precision="bf16", workers=3)),
        (["--archive", str(CAT), str(CAT)], Options(archives=(CAT, CAT))),
        (["--precision", "int8"], Options(precision="int8")),
        (["--precision", "int8", "--calibration", "/"], Options(precision="int8", calibration=Path("/"))),
        (["--host", "0.0.0.0"], Options(host="0.0.0.0")),  # noqa: S104 - not bound here
        (["--host", "::1"], Options(host="::1")),
    ],
)
def test_arguments_become_options(arguments: list[str], expected: Options) -> None:
    assert stack_options(read("serve", arguments)) == expected


def test_a_relative_file_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.pth").touch()
    monkeypatch.chdir(tmp_path)
    assert read("serve", ["--weights", "w.pth"]).weights == tmp_path / "w.pth"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--workers", "0"], "'0' is not a number from 1 to 9999"),
        (["--workers", "two"], "'two' is not a number from 1 to 9999"),
        (["--workers", "10000"], "'10000' is not a number from 1 to 9999"),
        (["--weights", "/nowhere/w.pth"], "'/nowhere/w.pth' is not a file"),
        (["--labels", "/"], "'/' is not a file"),
        (["--precision", "int4"], "invalid choice: 'int4'"),
        (["--precision", "int8", "--calibration", str(CAT)], "cat.jpg' is not a folder"),
        (["--precision", "f32", "--calibration", "/"], "--calibration goes with --precision int8"),
        (["--calibration", "/"], "--calibration goes with --precision int8"),
        (["--archive", str(CAT), "--precision", "f32"], "--archive takes archives as they were built"),
        (["--archive", "/nowhere/a.mar"], "'/nowhere/a.mar' is not a file"),
        (["--host", "example"], "'example' is not an IP address"),
        (["--det"], "unrecognized arguments: --det"),
        (["--detatch"], "did you mean --detach?"),
        (["--precison=int8"], "did you mean --precision?"),
        (["--detach", "now"], "unrecognized arguments: now"),
    ],
)
def test_wrong_arguments_are_refused_with_what_is_right(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read("serve", arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err
