"""What all commands have in common, as a bare system Python runs them before anything is set up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from marserve import __version__, paths
from marserve.cli import main as main_module
from marserve.cli.main import COMMANDS, read
from marserve.errors import MarserveError
from marserve.paths import as_here, command
from tests.cases.commands import MISUSES, Misuse
from tests.support import REPOSITORY


def bare_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line without site-packages: ``-S`` leaves only the standard library."""
    command_line = [sys.executable, "-S", "-m", "marserve", *arguments]
    return subprocess.run(command_line, cwd=REPOSITORY / "src", capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_nothing_installed_and_names_the_exit_statuses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done = bare_python(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    monkeypatch.chdir(REPOSITORY / "src")
    assert done.stdout.split()[: len(command(name).split()) + 1] == ["usage:", *command(name).split()]
    assert "exit status: 0" in done.stdout


def test_without_a_command_all_are_named_and_with_help_that_is_no_failure() -> None:
    helped, bare = bare_python("--help"), bare_python()
    assert (helped.returncode, bare.returncode) == (0, 2)
    assert helped.stdout == bare.stdout
    assert all(f"\n  {name} " in helped.stdout for name in COMMANDS)


def test_there_is_one_version() -> None:
    done = bare_python("--version")
    assert done.stdout == f"marserve {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["statsu"], "no command 'statsu'; did you mean status?"),
        (["xyzzy"], "no command 'xyzzy'; there are: serve, stop"),
        (["--port", "5001", "status"], "--port comes after a command: "),
        (["logs", "--line", "5"], "marserve logs: there is no option --line; did you mean --lines?"),
    ],
)
def test_a_near_miss_is_answered_with_what_was_meant(arguments: list[str], complaint: str) -> None:
    done = bare_python(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("misuse", MISUSES, ids=lambda misuse: misuse.words)
def test_wrong_words_are_refused_with_the_usage_of_their_command_and_what_is_right(
    misuse: Misuse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    name, *arguments = misuse.words.split()
    with pytest.raises(SystemExit) as ended:
        read(name, arguments)
    assert ended.value.code == 2
    usage, *_, complaint = capsys.readouterr().err.splitlines()
    assert usage.startswith(f"usage: {as_here(f'marserve {name}')} [OPTION ...]")
    assert complaint.startswith(f"{as_here(f'marserve {name}')}: ")
    assert complaint.endswith(misuse.complaint)


@pytest.mark.parametrize("words", [("help", "stop"), ("stop", "-h")])
def test_help_is_found_before_and_after_a_command(words: tuple[str, ...]) -> None:
    assert bare_python(*words).stdout == bare_python("stop", "--help").stdout


def test_a_reader_that_has_had_enough_is_no_failure_to_explain() -> None:
    code = (
        "import sys; from marserve.running import run_command; sys.exit(run_command(lambda: print('x' * 10**6) or 0))"
    )
    done = subprocess.run(
        ["/bin/bash", "-c", f'"{sys.executable}" -c "{code}" | head -c 1'], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("x", "")


@pytest.mark.parametrize("words", ["--help", "serve --help", "doctor", "serve --bogus 2>&1"])
def test_a_command_whose_reader_leaves_says_nothing(words: str) -> None:
    line = f"set -o pipefail; '{sys.executable}' -m marserve {words} | true"
    done = subprocess.run(["/bin/bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("marserve sta", {"status"}), ("marserve serve --preci", {"--precision"}), ("marserve token m", {"management"})],
)
def test_a_shell_completes_commands_options_and_choices(typed: str, offered: set[str], tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    variables = {
        "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": typed, "COMP_POINT": str(len(typed)),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "marserve"], env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {word.strip() for word in answer.read_text().splitlines()} == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_what_a_shell_reads(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "marserve", "completion", shell], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "marserve" in done.stdout


def test_messages_name_the_command_that_works_where_the_person_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "my clone"
    (clone / "scripts").mkdir(parents=True)
    (clone / "scripts" / "stop").touch()
    monkeypatch.setattr(paths, "CLONE", clone)
    monkeypatch.chdir(clone)
    monkeypatch.delenv("MARSERVE_WEB_PORT", raising=False)
    assert command("stop") == "./scripts/stop"
    assert as_here("marserve scale resnet18") == "./scripts/marserve scale resnet18"
    monkeypatch.chdir(tmp_path)
    assert command("scale resnet18") == f"'{clone}/scripts'/marserve scale resnet18"
    monkeypatch.setattr(paths, "CLONE", None)
    assert command("stop") == "marserve stop"
    monkeypatch.setenv("MARSERVE_WEB_PORT", "5001")
    assert command("rollback resnet18") == "marserve rollback resnet18 --port 5001"
    assert command("serve --detach") == "MARSERVE_WEB_PORT=5001 marserve serve --detach"
    assert command("build") == as_here("marserve build") == "marserve build"


def test_what_is_said_names_the_stack_of_the_option() -> None:
    done = bare_python("token", "--port", "5999")
    assert done.returncode == 1
    assert f"MARSERVE_WEB_PORT=5999 {REPOSITORY}/scripts/serve" in done.stderr


def test_a_package_that_does_not_load_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        NEEDS = None

        @staticmethod
        def add_arguments(_parser: object) -> None:
            """It takes none."""

        @staticmethod
        def run(_options: object) -> int:
            raise ImportError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(main_module, "_module", lambda _name: Broken)
    with pytest.raises(MarserveError, match=r"A package does not load: libgomp\.so\.1: .*Remove .*/\.venv"):
        main_module._run("status", [])
