"""The options of ``marserve serve``."""

from __future__ import annotations

import os
import shlex
import socket
from dataclasses import fields, replace
from pathlib import Path

import pytest

from marserve.cli import main as main_module
from marserve.cli.main import read
from marserve.cli.serve import confirm_replacement, run, stack_options
from marserve.errors import MarserveError
from marserve.manage import change
from marserve.stack import archives, lifecycle, preflight
from marserve.stack.archives import Archive
from marserve.stack.deployments import DeployedVersion, Deployments, switched
from marserve.stack.model_store import DeploymentStore
from marserve.stack.options import Options
from marserve.stack.ports import Ports, PortsTakenError
from marserve.stack.run_directory import RunDirectory, State
from marserve.supervision import serving
from marserve.system import machine
from marserve.system.loopback import free_ports
from marserve.system.processes import ProcessRecord, record
from marserve.variables import given_variables
from tests.support import CAT, REPOSITORY


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
        (["--only", "web"], Options(only="web")),
        (["--only", "torchserve", "--archive", str(CAT)], Options(only="torchserve", archives=(CAT,))),
    ],
)
def test_arguments_become_options(arguments: list[str], expected: Options) -> None:
    assert stack_options(read("serve", arguments)) == expected


def test_a_folder_of_archives_is_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("serve", ["--archive", str(tmp_path)])
    assert f"--archive: {tmp_path} holds no *.mar" in capsys.readouterr().err
    names = ("b.mar", "a.mar", "a.mar.sha256", "README.md")
    for name in names:
        (tmp_path / name).touch()
    options = stack_options(read("serve", ["--archive", str(CAT), str(tmp_path)]))
    assert options.archives == (CAT, tmp_path / "a.mar", tmp_path / "b.mar")


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
        (["--only", "wep"], "there is no 'wep'; did you mean web?"),
        (["--only", "torchserve"], "--only torchserve serves what is built: name it with --archive"),
        (["--only", "web", "--detach"], "--only stays in the foreground"),
        (["--only", "web", "--autoscale", "1..2"], "--autoscale is for a whole stack"),
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

    monkeypatch.setattr(serving, "serve", port_is_taken)
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
    monkeypatch.setattr(serving, "RunDirectory", lambda port: RunDirectory(port, tmp_path))
    monkeypatch.setattr(lifecycle, "check_free", lambda *_: pytest.fail("started"))
    monkeypatch.setenv("MARSERVE_MAX_IN_FLIGHT", "lots")
    with pytest.raises(MarserveError, match=r"MARSERVE_MAX_IN_FLIGHT = 'lots' .*: not a whole number$") as refused:
        read("serve", [])
    assert refused.value.exit_status == 2


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("MAX_IN_FLIGHT", "0", "less than 1"),
        ("MAX_IN_FLIGHT", "1.5", "not a whole number"),
        ("MAX_IMAGE_BYTES", "16MB", "not a whole number"),
        ("MAX_IMAGE_BYTES", "2000000000", "more than 1000000000"),
        ("REQUEST_DEADLINE_S", "soon", "not a number"),
        ("REQUEST_DEADLINE_S", "0", "not above 0.0"),
        ("LOG_LEVEL", "loud", "none of DEBUG, INFO, WARNING or ERROR"),
        ("CORS_ORIGINS", "example.org", "not an origin: scheme, host and port without a path"),
        ("CACHE_URL", "cache:6379", "not a redis://, rediss:// or unix:// address"),
        ("TRUSTED_PROXIES", "nginx", "not an ip address or network"),
        ("FETCH_PICTURES", "perhaps", "neither true nor false"),
        ("API_KEYS", "short", "a key has 16 or more printable ascii characters and no space"),
        ("API_KEYS_FILE", "/nope", "name a text file with one key a line."),
    ],
)
def test_a_wrong_setting_is_explained_in_plain_words(
    name: str, value: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MARSERVE_{name}", value)
    with pytest.raises(MarserveError) as refused:
        read("serve", [])
    assert str(refused.value).startswith(f"MARSERVE_{name}")
    assert str(refused.value).endswith(complaint)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> State:
    """A stack of two workers that answers at most eight requests at once."""
    directory = RunDirectory(5123, tmp_path)
    for module in (serving, preflight):
        monkeypatch.setattr(module, "RunDirectory", lambda _: directory)
    for module in (serving, lifecycle):
        monkeypatch.setattr(module, "is_running", lambda _: True)
    monkeypatch.setattr(serving, "is_watched", lambda _: True)
    monkeypatch.setenv("MARSERVE_MAX_IN_FLIGHT", "8")
    monkeypatch.setenv("MARSERVE_WEB_PORT", "5123")
    monkeypatch.setenv("MARSERVE_API_KEYS", "0123456789abcdef")
    choices = lifecycle.chosen(Options(workers=2, model_api=True))
    state = State(Ports(web_port=5123), str(tmp_path / "temp"), ProcessRecord("serve", 1, 0.0), choices=choices)
    directory.path.mkdir()
    state.write(directory.state)
    assert State.read(directory.state) == state
    return state


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"], ["--detach", "--model-api", "--workers", "2"]])
def test_the_same_command_again_changes_nothing(
    running: State, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARSERVE_CLASSIFY_API_KEY", "not the stack's")
    monkeypatch.setenv("MARSERVE_HOME", "/elsewhere")
    assert run(read("serve", arguments)) == 0
    same = capsys.readouterr()
    assert "Already running on web port 5123; nothing was changed." in same.out
    assert same.err == ""
    assert "0123456789abcdef" not in str(running.choices)


@pytest.mark.parametrize(
    ("arguments", "variables", "differing", "again"),
    [
        (["--workers", "4"], {}, "  --workers: 4; it has 2", "./scripts/serve --workers 4"),
        (["--host", "::1"], {}, "  --host: ::1; it has the default", "./scripts/serve --host ::1"),
        (
            ["--autoscale", "1..4"], {},
            "  --autoscale: 1..4, waiting 100 ms at most, quiet for 60 s; it has the default",
            "./scripts/serve --autoscale 1..4",
        ),
        (
            ["--detach"], {"MARSERVE_MAX_IN_FLIGHT": "9"}, "  MARSERVE_MAX_IN_FLIGHT: 9; it has 8",
            "MARSERVE_API_KEYS=... MARSERVE_MAX_IN_FLIGHT=9 MARSERVE_WEB_PORT=5123 ./scripts/serve --detach",
        ),
        ([], {"MARSERVE_API_KEYS": "another-key-of-mine"}, "MARSERVE_API_KEYS: keys with digest", "./scripts/serve"),
        (
            [], {"MARSERVE_CACHE_URL": "redis://:canary@cache"},
            "MARSERVE_CACHE_URL: redis://:...@cache with digest ", "./scripts/serve",
        ),
    ],
)  # fmt: skip
def test_what_a_running_stack_would_ignore_is_refused_with_how_to_apply_it(
    running: State, arguments: list[str], variables: dict[str, str], differing: str, again: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr("sys.argv", ["marserve", "serve", *arguments])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MarserveError) as refused:
        run(read("serve", arguments))
    assert refused.value.exit_status == 1
    first, second, apply, line, *scale = str(refused.value).splitlines()
    assert first == f"Already running on web port {running.ports.web_port}, started otherwise; nothing was changed:"
    assert differing in second
    assert apply == "To apply it:"
    assert line.startswith("  ./scripts/stop --port 5123 && ")
    assert line.endswith(again)
    scaled = "  ./scripts/marserve scale MODEL --workers 4 --port 5123"
    assert scale == (["or, for one model at once:", scaled] if "--workers" in arguments else [])


def test_a_check_of_a_running_stack_says_what_a_start_would_do(
    running: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "_archives_and_memory", lambda *_: None)
    assert run(read("serve", ["--check"])) == 0
    assert f"Already running on web port {running.ports.web_port}: a start would change" in capsys.readouterr().out
    assert run(read("serve", ["--check", "--workers", "5"])) == 1
    assert "--workers: 5; it has 2" in capsys.readouterr().err


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing runs, and ResNet18's archive was not built yet."""
    monkeypatch.setattr(preflight, "RunDirectory", lambda port: RunDirectory(port, tmp_path))
    for port, number in zip(fields(Ports), free_ports(6), strict=True):
        monkeypatch.setenv(f"MARSERVE_{port.name.upper()}", str(number))
    archive = Archive("resnet18", tmp_path / "resnet18.mar", "1.0", "untrained (seed 18)", trained=False)
    monkeypatch.setattr(archives, "archives_to_serve", lambda _options, *, check: [archive] if check else [])


@pytest.mark.usefixtures("unbuilt")
def test_a_check_starts_nothing_and_finds_what_is_in_the_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "serve", lambda *_: pytest.fail("started"))
    monkeypatch.setattr(machine, "read_machine", lambda: machine.Machine(2, 8 * 10**9, 4 * 10**9))
    assert run(read("serve", ["--check"])) == 0
    said = capsys.readouterr().out
    assert "per model 2 workers of 1 thread, about 0.7 GB; 4.0 GB are available." in said
    assert said.endswith("Nothing is in the way of a start.\n")
    monkeypatch.setattr(machine, "read_machine", lambda: machine.Machine(64, 8 * 10**9, 10**9))
    monkeypatch.setattr(preflight, "find_java", no_java)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("MARSERVE_METRICS_PORT", str(taken.getsockname()[1]))
        assert run(read("serve", ["--check"])) == 1
    port, java, memory = capsys.readouterr().err.splitlines()
    assert "(MARSERVE_METRICS_PORT) is taken" in port
    assert java == "! no Java"
    assert memory.startswith("! Memory: per model 16 workers of 4 threads, about 3.5 GB; 1.0 GB are available")


@pytest.mark.usefixtures("unbuilt")
def test_a_check_of_half_a_stack_is_about_that_half(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the other half, which may have its ports by now."""
    monkeypatch.setattr(preflight, "find_java", no_java)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1])
        monkeypatch.setenv("MARSERVE_METRICS_PORT", number)
        assert run(read("serve", ["--check", "--only", "web"])) == 0
        assert f"Ports: {os.environ['MARSERVE_WEB_PORT']} are free." in capsys.readouterr().out
        monkeypatch.setenv("MARSERVE_METRICS_PORT", os.environ["MARSERVE_WEB_PORT"])
        monkeypatch.setenv("MARSERVE_WEB_PORT", number)
        monkeypatch.setattr(preflight, "_archives_and_memory", lambda *_: None)
        assert run(read("serve", ["--check", "--only", "torchserve", "--archive", str(CAT)])) == 1
    assert capsys.readouterr().err == "! no Java\n"


def no_java() -> Path:
    raise MarserveError("no Java")


def test_a_check_of_a_fresh_clone_installs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (preflight, main_module):
        monkeypatch.setattr(module, "is_installed", lambda _: False)
    monkeypatch.setattr(main_module, "continue_in_environment", lambda *_: pytest.fail("installed"))
    for port, number in zip(fields(Ports), free_ports(6), strict=True):
        monkeypatch.setenv(f"MARSERVE_{port.name.upper()}", str(number))
    assert main_module.main(["serve", "--check"]) == 0
    assert "Packages: would be installed into .venv" in capsys.readouterr().out


@pytest.fixture
def deployed(tmp_path: Path) -> RunDirectory:
    """Nothing runs; version 2.0 was deployed over what serve --weights untrained had begun with."""
    directory = RunDirectory(5123, tmp_path)
    first, second = (DeployedVersion(version, f"{version}.mar", "", "") for version in ("1.0", "2.0"))
    model = switched(replace(second, by_deploy=True), first, 2)
    DeploymentStore(directory).write(Deployments({"weights": "untrained"}, {"resnet18": model}))
    return directory


@pytest.mark.parametrize(
    ("arguments", "asks"),
    [
        (["--precision", "f32"], True),
        (["--weights", "untrained", "--labels", str(CAT)], True),
        (["--precision", "f32", "--discard-deployed"], False),
        (["--weights", "untrained", "--workers", "3"], False),
        (["--host", "0.0.0.0"], False),  # noqa: S104
        ([], False),
    ],
)
def test_a_person_is_asked_before_what_was_deployed_is_replaced(
    deployed: RunDirectory, monkeypatch: pytest.MonkeyPatch, arguments: list[str], asks: bool
) -> None:
    questions: list[str] = []
    monkeypatch.setattr(change, "confirm_on_terminal", questions.append)
    options = stack_options(read("serve", arguments))
    confirm_replacement(options, deployed)
    assert questions == []  # nobody is there to be asked
    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    confirm_replacement(options, deployed)
    assert len(questions) == asks
    assert not asks or "Replacing what was deployed, resnet18 2.0" in questions[0]
    state = State(Ports(), "tmp", ProcessRecord("serve", 1, 0.0), processes=[record("web", os.getpid())])
    state.write(deployed.state)  # nothing is replaced while it runs
    confirm_replacement(options, deployed)
    assert len(questions) == asks
