"""The options of ``marserve serve``."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from marserve.cli.main import read
from marserve.cli.serve import run, stack_options
from marserve.errors import MarserveError
from marserve.stack import lifecycle
from marserve.stack.options import Options
from marserve.stack.ports import Ports, PortsTakenError
from marserve.stack.run_directory import RunDirectory, State
from marserve.system.processes import ProcessRecord
from marserve.variables import given_variables
from tests.support import CAT


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Options()),
        (["--detach"], Options(detach=True)),
        (["--weights", "untrained"], Options(weights="untrained")),
        (["--weights", str(CAT), "--labels", str(CAT)], Options(weights=CAT, labels=CAT)),
        (["--labels", "/"], Options(labels=Path("/"))),
        (["--weights", "/", "--weights-key", "ema"], Options(weights=Path("/"), weights_key="ema")),
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
        (["--workers", "10000"], "'10000' is not a number from 1 to 9999"),
        (["--weights-key", "ema"], "--weights-key goes with --weights FILE"),
        (["--weights", "untrained", "--weights-key", "ema"], "--weights-key goes with --weights FILE"),
        (["--precision", "f32", "--calibration", "/"], "--calibration goes with --precision int8"),
        (["--calibration", "/"], "--calibration goes with --precision int8"),
        (["--archive", str(CAT), "--precision", "f32"], "--archive takes archives as they were built"),
    ],
)
def test_wrong_arguments_are_refused_with_what_is_right(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read("serve", arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_taken_port_is_answered_with_a_line_that_keeps_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def port_is_taken(*_: object) -> int:
        raise PortsTakenError({"MARSERVE_INFERENCE_PORT": 5601})

    monkeypatch.setattr(lifecycle, "serve", port_is_taken)
    monkeypatch.setattr("sys.argv", ["marserve", "serve", "--detach", "--labels", "my names.txt"])
    for name in given_variables():
        monkeypatch.delenv(name)
    monkeypatch.setenv("MARSERVE_WEB_PORT", "5660")
    monkeypatch.setenv("MARSERVE_INFERENCE_PORT", "5601")
    monkeypatch.setenv("MARSERVE_API_KEYS", "0123456789abcdef")
    with pytest.raises(MarserveError) as refused:
        run(read("serve", ["--detach"]))
    first, _, line = str(refused.value).splitlines()
    assert first == "Port 5601 (MARSERVE_INFERENCE_PORT) is taken."
    *variables, door, detach, labels, names = shlex.split(line)
    assert (door, detach, labels, names) == ("./scripts/serve", "--detach", "--labels", "my names.txt")
    assert {"MARSERVE_WEB_PORT=5660", "MARSERVE_API_KEYS=..."} <= set(variables)
    assert not {"MARSERVE_INFERENCE_PORT=5601"} & set(variables)
    assert "0123456789abcdef" not in str(refused.value)


def test_a_wrong_setting_of_the_web_service_is_refused_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lifecycle, "RunDirectory", lambda port: RunDirectory(port, tmp_path))
    monkeypatch.setattr(lifecycle, "check_free", lambda *_: pytest.fail("started"))
    monkeypatch.setenv("MARSERVE_MAX_IN_FLIGHT", "lots")
    with pytest.raises(MarserveError, match=r"MARSERVE_MAX_IN_FLIGHT = 'lots' .*: not a whole number$"):
        run(read("serve", []))


def test_what_a_running_stack_was_not_started_with_is_said_to_have_no_effect(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = RunDirectory(5123, tmp_path)
    monkeypatch.setattr(lifecycle, "RunDirectory", lambda _: directory)
    monkeypatch.setattr(lifecycle, "is_running", lambda _: True)
    monkeypatch.setenv("MARSERVE_MAX_IN_FLIGHT", "8")
    monkeypatch.setenv("MARSERVE_WEB_PORT", "5123")
    options = Options(detach=True, workers=2, model_api=True)
    state = State(Ports(web_port=5123), "", ProcessRecord("serve", 1, 0.0), choices=given_variables() | options.given())
    directory.path.mkdir()
    state.write(directory.state)
    assert State.read(directory.state) == state
    assert lifecycle.serve(options, state.ports) == 0
    same = capsys.readouterr()
    assert "Already running on web port 5123; nothing was changed." in same.out
    assert same.err == ""
    monkeypatch.setenv("MARSERVE_MAX_IN_FLIGHT", "9")
    assert lifecycle.serve(Options(workers=4), state.ports) == 0
    other = capsys.readouterr().err
    assert "Without effect, since it was started otherwise: --workers, MARSERVE_MAX_IN_FLIGHT." in other
    assert "To apply: ./scripts/stop --port 5123, then the same command again." in other
