"""What continuous integration runs, with stand-ins for what takes long."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from marserve.system.waiting import wait_until
from tests.support import REPOSITORY

#: Says what it was asked, in ``done``; a stream fails, or waits until it is interrupted, where the file ``fails`` or
#: ``waits`` names one of its arguments. How many of its tests failed is in ``failed``, and kept as pytest keeps it.
TEST = """#!{python}
import json, pathlib, sys, time
asked = " ".join(sys.argv[1:])
def say(text):
    print(text, flush=True)
    with open("done", "a") as done:
        done.write(text + "\\n")
def is_in(name):
    file = pathlib.Path(name)
    return file.exists() and file.read_text() in sys.argv
say("began " + asked)
if is_in("waits"):
    pathlib.Path(".run/6000").mkdir()
    pathlib.Path(".run/6000/state.json").touch()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        say("interrupted " + asked)
        sys.exit(2)
is_chance = "--last-failed" in sys.argv and pathlib.Path("chance").exists()
failed = is_in("fails") and not is_chance
if failed and pathlib.Path("failed").exists():
    (cache,) = (word.partition("=")[2] for word in sys.argv if word.startswith("cache_dir="))
    kept = pathlib.Path(cache, "v/cache")
    kept.mkdir(parents=True, exist_ok=True)
    tests = dict.fromkeys(range(int(pathlib.Path("failed").read_text())), True)
    (kept / "lastfailed").write_text(json.dumps(tests, indent=2))
if failed and pathlib.Path("crashed").exists():
    print("worker 'gw0' crashed while running 'tests/test_it.py::test_it'", flush=True)
say("FAILED tests/test_it.py::test_it" if failed else "==== 1 passed in 0.01s ====")
sys.exit(failed)
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """One whose commands only say what they are asked."""
    shutil.copytree(REPOSITORY / ".ci", tmp_path / ".ci")
    for folder in ("programs", "scripts", ".venv/bin", ".run/5000", "tests/unit", "tests/deploy", "tests/e2e"):
        (tmp_path / folder).mkdir(parents=True)
    for test in ("unit", "deploy", "e2e"):
        (tmp_path / "tests" / test / "test_it.py").write_text('needs("curl")')
    (tmp_path / ".run" / "5000" / "state.json").touch()
    says = '#!/bin/sh\necho "$(basename "$0") $MARSERVE_WEB_PORT $*" >>done\n'
    stand_ins = {"scripts/test": TEST.format(python=sys.executable)}
    stand_ins |= dict.fromkeys(
        ("scripts/check", "scripts/audit", "scripts/marserve", "scripts/stop", ".venv/bin/python"), says
    )
    needed = ("checkov", "check-jsonschema", "chromium", "curl", "git", "haproxy", "ip", "openssl", "podman-compose")
    more = ("moto_server", "promtool", "redis-server", "systemd-analyze", "wrk", "apt-get")
    stand_ins |= {f"programs/{name}": "#!/bin/sh\n" for name in (*needed, *more)}
    for path, content in stand_ins.items():
        (tmp_path / path).write_text(content)
        (tmp_path / path).chmod(0o755)
    return tmp_path


def begin(clone: Path, path: str | None = None) -> subprocess.Popen[str]:
    path = path or f"{clone / 'programs'}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "TMPDIR": str(clone)}
    return subprocess.Popen(
        ["/bin/bash", ".ci/run"],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Where these tests run in the background, SIGINT is ignored, and would be here too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def done(clone: Path) -> list[str]:
    file = clone / "done"
    return file.read_text().splitlines() if file.exists() else []


def test_every_test_is_in_one_stream_and_coverage_is_of_all(clone: Path) -> None:
    output, _ = (ci := begin(clone)).communicate(timeout=60)
    assert ci.returncode == 0, output
    began = [line for line in done(clone) if line.startswith("began")]
    assert sum("--cov " in line for line in began) == 4
    assert any(line.endswith(" tests/deploy tests/integration") for line in began)
    assert {line.split()[-1] for line in began} >= {"tests/e2e", "tests/reliability"}
    ignored = ["deploy", "e2e", "integration", "reliability"]
    assert any(line.endswith("".join(f" --ignore=tests/{name}" for name in ignored)) for line in began)
    assert sum(line.startswith("python ") for line in done(clone)) == 2
    assert not any(line.startswith("stop") for line in done(clone))
    assert "e2e | ==== 1 passed in 0.01s ====" in output
    assert "unit | ==== 1 passed in 0.01s ====" in output


def test_what_is_installed_for_tests_is_missing_in_the_second_run() -> None:
    text = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    installed = set(re.findall(r"\[([a-z-]+)\]=", text.partition("packages=(")[2].partition(")\n")[0]))
    hidden = set(text.partition("\nprograms=(")[2].partition(")")[0].split())
    assert installed - hidden == {"ip", "iptables"}, "these are looked for in /usr/sbin"


@pytest.mark.parametrize(
    ("argument", "name"),
    [("tests/e2e", "e2e"), ("--ignore=tests/e2e", "unit"), ("tests/deploy", "deploy"), ("-m", "bare")],
)
def test_a_stream_that_fails_fails_the_run_and_is_named_at_its_end(clone: Path, argument: str, name: str) -> None:
    (clone / "fails").write_text(argument)
    output, _ = (ci := begin(clone)).communicate(timeout=60)
    assert ci.returncode == 1
    assert f"{name} | FAILED tests/test_it.py::test_it\n" in output
    assert "\nFAILED tests/test_it.py::test_it\n" in output
    assert output.endswith(f"Failed: {name}\n")
    assert sum(line.startswith("began") for line in done(clone)) == 6, "the others end"


@pytest.mark.parametrize("is_chance", [True, False])
def test_what_failed_is_run_once_more_and_told(clone: Path, is_chance: bool) -> None:
    (clone / "fails").write_text("tests/e2e")
    (clone / "failed").write_text("3")
    if is_chance:
        (clone / "chance").touch()
    output, _ = (ci := begin(clone)).communicate(timeout=60)
    assert ci.returncode == (0 if is_chance else 1), output
    assert ("\nPassed in the second run only" in output) == is_chance
    assert "\nFAILED tests/test_it.py::test_it\n" in output
    (again,) = (line for line in done(clone) if line.startswith("began") and "--last-failed" in line)
    assert again.endswith(" tests/e2e")
    assert sum(line.startswith("began") for line in done(clone)) == 7


@pytest.mark.parametrize(
    ("failed", "has_crashed"),
    [pytest.param(4, False, id="many are no chance"), pytest.param(1, True, id="others were not run")],
)
def test_what_failed_is_not_run_once_more(clone: Path, failed: int, has_crashed: bool) -> None:
    (clone / "fails").write_text("tests/e2e")
    (clone / "failed").write_text(str(failed))
    (clone / "chance").touch()
    if has_crashed:
        (clone / "crashed").touch()
    output, _ = (ci := begin(clone)).communicate(timeout=60)
    assert ci.returncode == 1
    assert output.endswith("Failed: e2e\n")
    assert sum(line.startswith("began") for line in done(clone)) == 6


def test_a_check_that_fails_fails_the_run_and_the_tests_run_all_the_same(clone: Path) -> None:
    (clone / "scripts" / "check").write_text("#!/bin/sh\necho F401 >&2; exit 1\n")
    output, _ = (ci := begin(clone)).communicate(timeout=60)
    assert ci.returncode == 1
    assert "check | F401\n" in output
    assert output.endswith("Failed: check\n")
    assert sum(line.startswith("began") for line in done(clone)) == 6


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_ends_its_streams_and_the_stacks_that_they_leave(clone: Path, sent: signal.Signals) -> None:
    (clone / "waits").write_text("tests/e2e")
    ci = begin(clone)
    assert wait_until(lambda: (clone / ".run" / "6000" / "state.json").exists(), 30)
    ci.send_signal(sent)
    output, _ = ci.communicate(timeout=60)
    assert ci.returncode == 128 + sent
    assert "e2e | interrupted " in output
    assert [line for line in done(clone) if line.startswith("stop")] == ["stop 6000 "]
    assert list(clone.glob("tmp.*")) == []


def test_a_run_that_fails_at_once_leaves_nothing_that_still_installs(clone: Path) -> None:
    (clone / "programs" / "checkov").unlink()
    (clone / "programs" / "python3").write_text("#!/bin/sh\necho $$ >installing; exec sleep 60\n")
    (clone / "programs" / "python3").chmod(0o755)
    (clone / "scripts" / "marserve").write_text("#!/bin/sh\nuntil test -s installing; do sleep 0.1; done; exit 1\n")
    ci = begin(clone, f"{clone / 'programs'}:/usr/bin:/bin")
    ci.communicate(timeout=30)
    assert ci.returncode == 1
    assert not psutil.pid_exists(int((clone / "installing").read_text()))
    assert list(clone.glob("tmp.*")) == []


def test_checkov_comes_in_an_environment_of_its_own_of_which_only_it_is_seen(clone: Path) -> None:
    (clone / "programs" / "checkov").unlink()
    names = "pip python checkov check-jsonschema moto_server podman-compose"
    makes = f'mkdir -p "$3/bin" && for name in {names}; do cp programs/git "$3/bin/$name"; done'
    for path, content in (
        ("programs/python3", makes),
        ("scripts/check", "command -v checkov >>done; command -v pip >>done; true"),
    ):
        (clone / path).write_text(f"#!/bin/sh\n{content}\n")
        (clone / path).chmod(0o755)
    output, _ = (ci := begin(clone, f"{clone / 'programs'}:/usr/bin:/bin")).communicate(timeout=60)
    assert ci.returncode == 0, output
    found = [line for line in done(clone) if line.startswith(str(clone / "tmp."))]
    assert [Path(line).parts[-2:] for line in found] == [("tools-only", "checkov")]
