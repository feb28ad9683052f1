"""What set-up decides: whether it is done, and where torch comes from."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.setup import environment, pip
from marserve.setup.environment import Environment, clone_lock, ensure, is_current, write_stamps
from marserve.setup.pip import PipState
from marserve.system.loopback import free_ports
from tests.support import REPOSITORY

LOCK = "numpy==2.4.6\ntorch==2.14.1\ntorchvision==0.29.1 ; sys_platform == 'linux'\n"


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """What is looked at of a virtual environment."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.7\n")
    return tmp_path


def test_a_group_brings_those_that_it_includes(venv: Path) -> None:
    assert not is_current(venv, "serve", LOCK)
    write_stamps(venv, "dev", LOCK)
    assert all(is_current(venv, group, LOCK) for group in ("serve", "heif", "int8", "tracing", "bench", "dev"))


def test_an_extra_brings_no_other(venv: Path) -> None:
    write_stamps(venv, "int8", LOCK)
    assert is_current(venv, "serve", LOCK)
    assert not is_current(venv, "heif", LOCK)


@pytest.mark.parametrize("change", ["pins", "python", "environment"])
def test_a_stamp_is_void_after_a_change(venv: Path, change: str) -> None:
    write_stamps(venv, "serve", LOCK)
    lock = LOCK
    if change == "pins":
        lock = LOCK.replace("2.4.6", "2.4.7")
    elif change == "python":
        (venv / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.0\n")
    else:
        (venv / "bin" / "python").unlink()
    assert not is_current(venv, "serve", lock)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """The environment of a clone, with what is looked at of it."""
    (tmp_path / "requirements.lock").write_text(LOCK)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.7\n")
    monkeypatch.setattr(environment, "_works", lambda _python: True)
    return Environment(tmp_path)


def test_an_interrupted_set_up_is_not_trusted(
    clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[str] = []
    monkeypatch.setattr(pip, "wants_cpu_builds", lambda: False)
    monkeypatch.setattr(pip, "pip_install", lambda *_, step, **__: installed.append(step))
    write_stamps(tmp_path / ".venv", "serve", clone_lock(tmp_path))
    clone.ensure("serve")
    assert installed == []
    (tmp_path / ".venv" / "unfinished").touch()
    clone.ensure("serve")
    assert installed[-1] == "Installing packages"
    assert not (tmp_path / ".venv" / "unfinished").exists()


def test_torch_is_pinned_once_for_both_indexes() -> None:
    assert pip.pinned_torch(LOCK) == ["torch==2.14.1", "torchvision==0.29.1"]
    found = pip.pinned_torch((REPOSITORY / "requirements.lock").read_text(encoding="utf-8"))
    assert [requirement.partition("==")[0] for requirement in found] == ["torch", "torchvision"]


@pytest.mark.parametrize(
    ("platform", "smi", "wanted"),
    [("linux", None, True), ("linux", "/usr/bin/nvidia-smi", False), ("darwin", None, False)],
)
def test_cpu_builds_are_wanted_on_linux_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, platform: str, smi: str | None, wanted: bool
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(shutil, "which", lambda _name: smi)
    monkeypatch.setattr(Path, "glob", lambda _self, _pattern: iter(()))
    assert pip.wants_cpu_builds() is wanted


class Index(BaseHTTPRequestHandler):
    """Has torch, has none, or answers no one, by the path asked for."""

    release = threading.Event()

    def do_GET(self) -> None:
        if self.path.startswith("/silent"):
            self.release.wait(30)
        self.send_response(200 if self.path == "/there/torch/" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing on the terminal."""


@pytest.fixture
def index() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Index.release.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "answers"), [("/there", True), ("/absent", False), ("/silent", False)])
def test_an_index_answers_only_if_it_offers_torch_in_time(index: str, path: str, answers: bool) -> None:
    assert pip.answers(index + path, timeout_s=2) is answers


def test_an_index_that_is_not_there_is_no_failure() -> None:
    assert pip.answers(f"http://127.0.0.1:{free_ports(1)[0]}", timeout_s=2) is False


def test_an_index_that_cannot_give_torch_makes_the_usual_one_be_taken(
    clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pip, "wants_cpu_builds", lambda: True)
    monkeypatch.setattr(pip, "answers", lambda _index: True)
    asked: list[list[str]] = []

    def pip_install(_python: Path, arguments: list[str], **_: object) -> None:
        asked.append(arguments)
        if "--index-url" in arguments:
            raise MarserveError("no such version")

    monkeypatch.setattr(pip, "pip_install", pip_install)
    clone.ensure("client")
    assert not any("torch" in argument for arguments in asked for argument in arguments)
    assert not is_current(tmp_path / ".venv", "serve", clone_lock(tmp_path))
    asked.clear()
    clone.ensure("serve")
    assert "--index-url" in asked[1]
    assert asked[-1][-2:] == ["--editable", ".[serve]"]
    assert not (tmp_path / ".venv" / "unfinished").exists()
    assert is_current(tmp_path / ".venv", "serve", clone_lock(tmp_path))


@pytest.mark.parametrize("extra", ["heif", "tracing"])
def test_an_extra_that_is_asked_for_once_is_renewed_with_the_rest(
    clone: Environment, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[str] = []
    monkeypatch.setattr(pip, "wants_cpu_builds", lambda: False)
    monkeypatch.setattr(pip, "pip_install", lambda _python, arguments, **_: installed.append(arguments[-1]))
    clone.ensure("serve")
    assert installed[-1] == ".[serve]"
    clone.ensure(extra)
    assert installed[-1] == f".[serve,{extra}]"
    (tmp_path / "requirements.lock").write_text(LOCK.replace("2.4.6", "2.4.7"))
    clone.ensure("serve")
    assert installed[-2:] == [".[serve]", f".[serve,{extra}]"]
    assert is_current(tmp_path / ".venv", extra, clone_lock(tmp_path))


def test_pips_lines_become_what_it_is_doing() -> None:
    state = PipState()
    shown = []
    for line in (
        "Collecting torch==2.14.1\n",
        "  Downloading https://host/torch-2.14.1-cp311-cp311-linux.whl (780 MB)\n",
        "Progress 351000000 of 780000000\n",
        "Installing collected packages: torch\n",
    ):
        state.read(line)
        shown.append(state.text)
    assert shown == ["torch==2.14.1", "torch-2.14.1", "torch-2.14.1 (45 % of 780 MB)", "unpacking"]


def test_what_is_said_of_a_set_up_leaves_standard_output_to_the_command(
    clone: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pip, "wants_cpu_builds", lambda: False)
    monkeypatch.setattr(pip, "pip_install", lambda *_, **__: None)
    clone.ensure("serve")
    said = capsys.readouterr()
    assert said.out == ""
    assert "Installing the packages of group 'serve'" in said.err


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("serve", r'pip install "marserve\[serve\]"'),
        ("heif", r'pip install "marserve\[heif\]"'),
        ("int8", r'pip install "marserve\[int8\]"'),
        ("tracing", r'pip install "marserve\[tracing\]"'),
        ("dev", "Group 'dev' is for work on a clone"),
    ],
)
def test_without_a_clone_a_missing_extra_is_named(group: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "CLONE", None)
    assert ensure("client") == Path(sys.executable)
    monkeypatch.setattr(environment, "find_spec", lambda _name: None)
    with pytest.raises(MarserveError, match=message):
        ensure(group)


@pytest.fixture
def steps(clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of pip, which does nothing but write where it installed the project."""
    packages = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    steps: list[str] = []

    def pip_install(_python: Path, _arguments: list[str], *, step: str, **_: object) -> None:
        steps.append(step)
        packages.mkdir(parents=True, exist_ok=True)
        (packages / "_editable_impl_marserve.pth").write_text(f"{tmp_path}/src")

    monkeypatch.setattr(pip, "wants_cpu_builds", lambda: False)
    monkeypatch.setattr(pip, "pip_install", pip_install)
    return steps


def test_the_project_is_found_by_a_relative_path(clone: Environment, tmp_path: Path, steps: list[str]) -> None:
    clone.ensure("client")
    (file,) = tmp_path.glob(".venv/lib/*/site-packages/*.pth")
    assert file.read_bytes() == b"../../../../src\n"
    assert (file.parent / file.read_text().strip()).resolve() == tmp_path / "src"


def test_one_lock_whatever_marserve_home_says(clone: Environment, tmp_path: Path, steps: list[str]) -> None:
    clone.ensure("client")
    assert (tmp_path / ".run" / "set-up.lock").exists()
    assert (tmp_path / ".run" / "set-up.log").exists()


def test_a_system_whose_python_is_another_now_gets_a_new_environment(
    clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[str]
) -> None:
    """.venv/bin/python is a link to it, and finds no package of the one before."""
    monkeypatch.setattr(Environment, "_create", lambda _self: steps.append("new"))
    clone.ensure("client")
    assert "new" not in steps
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.9.2\n")
    write_stamps(tmp_path / ".venv", "client", clone_lock(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    clone.ensure("client")
    assert steps.count("new") == 1


def test_a_creation_that_was_cut_off_is_begun_again(
    clone: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[str]
) -> None:
    (tmp_path / ".venv" / "of-before").mkdir()
    (tmp_path / ".venv" / "unfinished").touch()

    @contextmanager
    def killed(*_: object, **__: object) -> Iterator[None]:
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patch:
        patch.setattr(environment, "child", killed)
        with pytest.raises(KeyboardInterrupt):
            clone.ensure("client")
    assert [file.name for file in (tmp_path / ".venv").iterdir()] == ["unfinished"]
    monkeypatch.setattr(Environment, "_create", lambda _self: steps.append("new"))
    clone.ensure("client")
    assert steps[0] == "new"
