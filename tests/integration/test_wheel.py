"""The wheel, installed where there is no clone: what it carries, and what works with the base requirements alone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from marserve import __version__
from tests.support import CAT, REPOSITORY
from tests.unit.fake_server import FakeServer, server

__all__ = ["server"]

#: What the base requirements bring in all; more would have to be worth it.
BASE = {
    "argcomplete", "certifi", "charset-normalizer", "idna", "markdown-it-py", "mdurl", "pygments", "requests", "rich",
    "urllib3",
}  # fmt: skip
ENTRY = "import sys; from marserve.cli.main import main; sys.exit(main())"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this clone."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(REPOSITORY)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (file,) = folder.iterdir()
    return file


def required(lines: Iterable[str]) -> set[str]:
    """All that pip installs for these requirements."""
    found: set[str] = set()
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            name = canonicalize_name(requirement.name)
            found |= {name, *required(distribution(name).requires or ())}
    return found


@pytest.fixture(scope="module")
def base(wheel: Path) -> set[str]:
    """What the wheel's base requirements bring."""
    with zipfile.ZipFile(wheel) as content:
        metadata = message_from_bytes(content.read(f"marserve-{__version__}.dist-info/METADATA"))
    return required(metadata.get_all("Requires-Dist", []))


@pytest.fixture(scope="module")
def python(wheel: Path, base: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel and its base requirements, and nothing else."""
    environment = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=120)
    paths = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", vars=paths))
    with zipfile.ZipFile(wheel) as content:
        content.extractall(packages)
    for name in base:
        for top in {file.parts[0] for file in distribution(name).files or () if file.parts[0] not in ("..", "bin")}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return environment / "bin" / "python"


def run(python: Path, code: str, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("MARSERVE_")}
    return subprocess.run(
        [python, "-I", "-c", code, *arguments],
        cwd=cwd, env=clean | variables, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_wheel_carries_what_serving_needs_and_nothing_of_the_clones_own(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
    for folder, target in (
        ("handler", "marserve/handler"),
        ("config", "marserve/config"),
        ("examples", "marserve/examples"),
        ("src/marserve", "marserve"),
    ):
        files = [file.relative_to(REPOSITORY / folder) for file in (REPOSITORY / folder).rglob("*") if file.is_file()]
        expected = {f"{target}/{file.as_posix()}" for file in files if "__pycache__" not in file.parts}
        assert expected <= names
        assert len(expected) > 3
    assert {"marserve/web/templates/index.html", "marserve/py.typed"} <= names
    assert {name.partition("/")[0] for name in names} == {"marserve", f"marserve-{__version__}.dist-info"}
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_base_requirements_bring_little(base: set[str]) -> None:
    assert base == BASE


def test_the_base_install_has_the_command_line(python: Path, tmp_path: Path) -> None:
    version, helped = run(python, ENTRY, "--version", cwd=tmp_path), run(python, ENTRY, "serve", "--help", cwd=tmp_path)
    assert (version.stdout, version.stderr) == (f"marserve {__version__}\n", "")
    assert helped.stdout.startswith("usage: marserve serve ")
    assert "\n  marserve serve --detach" in helped.stdout
    assert "scripts/" not in helped.stdout


def test_the_base_install_classifies(python: Path, server: FakeServer, tmp_path: Path) -> None:
    done = run(python, ENTRY, "classify", "--url", server.url, "--format", "csv", str(CAT), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tabby" in done.stdout
    code = "import sys; from marserve.client.inference import InferenceClient as Client; "
    code += "print(Client.for_web(sys.argv[1]).classify(b'x'))"
    assert "tabby" in run(python, code, server.url, cwd=tmp_path).stdout


@pytest.mark.parametrize("command", ["serve", "status", "build"])
def test_a_command_that_needs_more_names_the_extra(python: Path, command: str, tmp_path: Path) -> None:
    done = run(python, ENTRY, command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'This needs more packages: pip install "marserve[serve]"\n'
    assert not list(tmp_path.iterdir())


def test_state_lies_below_the_directory_of_the_command_or_marserve_home(python: Path, tmp_path: Path) -> None:
    code = "from marserve.paths import MODEL_STORE, RUN; print(RUN, MODEL_STORE)"
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    assert run(python, code, cwd=here).stdout.split() == [str(here / ".run"), str(here / "model_store")]
    named = run(python, code, cwd=here, MARSERVE_HOME=str(there))
    assert named.stdout.split() == [str(there / ".run"), str(there / "model_store")]
