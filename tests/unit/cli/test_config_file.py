"""``marserve.toml``: what it may say, where it is found, and what wins over it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from marserve import paths
from marserve.cli import main as main_module
from marserve.cli.main import COMMANDS, main, read
from marserve.paths import FROM_FILE, command
from marserve.stack.ports import Ports
from marserve.variables import NAMES, ConfigFile, ConfigFileError, prepare_environment, read_config
from marserve.web.settings import WebSettings
from tests.support import CAT


@pytest.fixture(autouse=True)
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "marserve.toml"
    FROM_FILE.clear()


def test_every_setting_may_stand_in_the_file() -> None:
    settings = {*WebSettings.model_fields, *(field.name for field in fields(Ports))}
    settings |= {"classify_api_key", "archive_sha256"}
    assert {name.lower() for name in NAMES} == settings | {"home", "config"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("web_prt = 1", "there is no setting web_prt; did you mean web_port?"),
        ("MAX_IN_FLIGHT = 1", "there is no setting MAX_IN_FLIGHT; did you mean max_in_flight?"),
        ("home = 'x'", "there is no setting home"),
        ("fetch_pictures = 1", "fetch_pictures is true or false"),
        ("web_port = true", "web_port is a text, a number or a list of these"),
        ("[srve]", "there is no command [srve]; did you mean serve?"),
        ("[serve]\nwrkers = 2", "[serve]: there is no option wrkers; did you mean workers?"),
        ("[serve]\nconfig = 'x'", "[serve]: there is no option config"),
        ("[serve]\nworkers = 'two'", "[serve]: workers: 'two' is not a number from 1 to 9999"),
        ("[serve]\nworkers = true", "[serve]: workers has a value"),
        ("[serve]\nworkers = [1, 2]", "[serve]: workers has one value"),
        ("[serve]\ndetach = 1", "[serve]: detach is true or false"),
        ("[serve]\nprecision = 'int9'", "[serve]: precision: there is no 'int9'; did you mean int8?"),
        ("[serve]\nlabels = 'names.txt'", "/names.txt does not exist"),
        pytest.param(f"name = {'[' * 5000}", "recursion", id="nested without end"),
        ("web_port = x", "(at line 1, column 12)"),
    ],
)
def test_what_is_wrong_is_named_with_the_file_and_what_was_meant(file: Path, text: str, complaint: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigFileError) as refused:
        read("serve", [], read_config(file, COMMANDS))
    assert str(refused.value).startswith(f"{file}: ")
    assert complaint in str(refused.value)
    assert refused.value.exit_status == 2


def test_a_missing_file_is_called_missing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigFileError, match=rf"{file} does not exist"):
        prepare_environment({"MARSERVE_CONFIG": str(file)})
    with pytest.raises(SystemExit):
        main(["stop", "--config", str(file)])
    assert f"stop: --config: {file} does not exist" in capsys.readouterr().err


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(file: Path) -> None:
    file.write_text(
        'web_port = 5601\nmax_in_flight = 7\ntrusted_proxies = ["::1", "10.0.0.0/8"]\nfetch_pictures = true\n'
        "[serve]\nworkers = 3"
    )
    environ = {"MARSERVE_MAX_IN_FLIGHT": "8", "DRAIN_S": "1"}
    config = prepare_environment(environ, config=file, commands=COMMANDS)
    assert environ["MARSERVE_WEB_PORT"] == "5601"
    assert environ["MARSERVE_MAX_IN_FLIGHT"] == "8"
    settings = WebSettings.from_environment(environ)
    assert (settings.trusted_proxies, settings.cache_ttl_s) == (("::1", "10.0.0.0/8"), 3600)
    assert settings.fetch_pictures
    assert read("serve", [], config).workers == 3
    assert read("serve", ["--workers", "4"], config).workers == 4
    assert read("serve", [], None).workers is None


@pytest.mark.parametrize(("environment", "taken"), [("5603", None), ("", 5602)])
def test_a_variable_wins_over_the_option_that_it_stands_for(
    file: Path, environment: str, taken: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[status]\nport = 5602\n")
    monkeypatch.setenv("MARSERVE_WEB_PORT", environment)
    assert read("status", [], read_config(file, COMMANDS)).port == taken


def test_its_paths_are_relative_to_it_and_a_required_option_may_stand_in_it(file: Path) -> None:
    (file.parent / "names.txt").touch()
    (file.parent / "new.mar").touch()
    file.write_text(
        f'api_keys_file = "keys"\n[serve]\nlabels = "names.txt"\nweights = "untrained"\ndetach = true\n'
        f'[deploy]\narchive = "new.mar"\npictures = ["{CAT}"]\n[classify]\noutput = "r.csv"\n'
    )
    config = read_config(file, COMMANDS)
    served = read("serve", [], config)
    assert (served.labels, served.weights, served.detach) == (file.parent / "names.txt", "untrained", True)
    deployed = read("deploy", ["resnet18"], config)
    assert (deployed.archive, deployed.pictures, deployed.model) == (file.parent / "new.mar", [str(CAT)], "resnet18")
    assert read("classify", ["x.jpg"], config).output == file.parent / "r.csv"
    assert config.settings == {"MARSERVE_API_KEYS_FILE": str(file.parent / "keys")}


def test_it_is_found_here_in_the_home_and_in_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, home, clone = (tmp_path / name for name in ("here", "home", "clone"))
    monkeypatch.setattr(paths, "CLONE", clone)
    for number, place in enumerate((clone, home, here)):
        place.mkdir()
        (place / "marserve.toml").write_text(f"web_port = {6000 + number}")
        monkeypatch.chdir(here if place == here else tmp_path)
        environ = {"MARSERVE_HOME": str(home)}
        prepare_environment(environ)
        assert environ["MARSERVE_WEB_PORT"] == str(6000 + number)
        assert environ["MARSERVE_CONFIG"] == str(place / "marserve.toml")


def test_hints_name_the_file_where_the_person_did(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WEB_PORT", "HOME", "CONFIG"):
        monkeypatch.setenv(f"MARSERVE_{name}", "")
    monkeypatch.setattr(paths, "CLONE", None)
    file.write_text("web_port = 5601")
    prepare_environment(config=file)
    assert command("serve") == f"marserve serve --config {file}"
    assert command("scale x --workers 2") == f"marserve scale x --workers 2 --config {file}"
    monkeypatch.setenv("MARSERVE_WEB_PORT", "5602")
    FROM_FILE.discard("MARSERVE_WEB_PORT")  # as where the variable was set before
    assert command("stop") == f"marserve stop --config {file} --port 5602"
    FROM_FILE.clear()
    for name in ("WEB_PORT", "CONFIG"):
        monkeypatch.setenv(f"MARSERVE_{name}", "")
    monkeypatch.chdir(tmp_path)
    prepare_environment()
    assert command("serve") == "marserve serve"
    assert command("stop") == "marserve stop --port 5601"
    monkeypatch.setenv("MARSERVE_HOME", "/srv/my state")
    assert command("build") == "MARSERVE_HOME='/srv/my state' marserve build"


def test_a_second_stack_needs_one_file(file: Path) -> None:
    file.write_text("web_port = 5987\n")
    line = [sys.executable, "-S", "-m", "marserve"]
    done = subprocess.run(
        [*line, "stop", "--config", file], cwd=Path(paths.PACKAGE).parent, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "Nothing is running on web port 5987.\n"), done.stderr
    file.write_text("web_port = 'none'\n")
    done = subprocess.run([*line[:1], *line[2:], "stop"], cwd=file.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"MARSERVE_WEB_PORT (from {file})=none is not a port: give a number from 1 to 65535.\n"


def test_python_3_10_reads_it_after_set_up(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("web_port = 5987\n")
    monkeypatch.chdir(file.parent)
    for name in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, name, None)
    begun: list[str] = []
    monkeypatch.setattr(main_module, "continue_in_environment", lambda group, *_: begun.append(group))
    assert main(["status"]) == 2  # where set-up went on, this process would have been replaced
    assert begun == ["serve"]
    assert main(["stop"]) == 2
    assert begun == ["serve"]


def test_a_near_miss_among_the_variables_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    prepare_environment({"MARSERVE_MAX_INFLIGHT": "4", "MARSERVE_SERVICE_PORT": "5000", "MARSERVE_THREADS": "2"})
    assert capsys.readouterr().err == "MARSERVE_MAX_INFLIGHT is no setting; did you mean MARSERVE_MAX_IN_FLIGHT?\n"


def test_help_says_where_values_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("serve", ["--help"])
    assert "values come from the command line, else from environment variables" in capsys.readouterr().out
    assert os.environ.get("MARSERVE_CONFIG") is None
    assert ConfigFile(Path("x")).settings == {}
