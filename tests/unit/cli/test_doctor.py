"""``marserve doctor``: one text for a bug report, whatever is broken, without secrets."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from marserve import __version__
from marserve.cli import doctor
from marserve.cli.main import read
from marserve.handler.resnet18.description import DESCRIPTION_FILE
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, StackModel, State
from marserve.system.processes import record
from tests.support import REPOSITORY


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with two archives, one damaged, and a stack whose log has errors."""
    store = tmp_path / "model_store"
    store.mkdir()
    (store / "damaged.mar").write_text("text")
    with zipfile.ZipFile(store / "flowers.mar", "w") as mar:
        described = {"model": "flowers", "version": "2.0", "architecture": "resnet18", "precision": "int8"}
        mar.writestr(DESCRIPTION_FILE, json.dumps({**described, "weights": {"source": f"file {tmp_path}/w.pth"}}))
    directory = RunDirectory(5123, tmp_path / ".run")
    directory.logs.mkdir(parents=True)
    state = State(
        Ports(web_port=5123), "", record("serve", 1), [StackModel("resnet18", trained=False)], ready=True,
        choices={
            "MARSERVE_API_KEYS": "keys with digest 01234567",
            "MARSERVE_CACHE_URL": "redis://user:...@cache with digest 89abcdef",
            "--workers": "2",
        },
    )  # fmt: skip
    state.write(directory.state)
    lines = "".join(f"2026-11-24T15:25:{n:02},431 [ERROR] main org.pytorch.serve - fault {n}\n" for n in range(20))
    (directory.logs / "ts_log.log").write_text(lines)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "MODEL_STORE", store)
    monkeypatch.setattr(doctor, "RUN", tmp_path / ".run")
    monkeypatch.setattr(doctor, "RunDirectory", lambda port: RunDirectory(port, tmp_path / ".run"))
    return tmp_path


def test_it_tells_what_a_bug_report_needs_and_no_secret(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARSERVE_API_KEYS", "0123456789abcdef")
    monkeypatch.setenv("MARSERVE_CACHE_URL", "redis://user:secret@cache:6379/0")
    monkeypatch.setenv("MARSERVE_METRICS_PORT", "none")
    assert doctor.run(read("doctor", [])) == 0
    text = capsys.readouterr().out
    for part in (
        f"marserve:\n  {__version__}, in the clone", "usable cores", "of memory", "torchserve 0.12.0",
        "MARSERVE_CACHE_URL=redis://user:...@cache:6379/0", "MARSERVE_METRICS_PORT=none is not a port",
        "flowers 2.0, resnet18, int8, weights: file ~/w.pth", "damaged.mar (0 MB): cannot be read",
        "web port 5123: running; resnet18 (untrained); MARSERVE_CACHE_URL=redis://user:...@cache --workers=2",
        "fault 19",
    ):  # fmt: skip
        assert part in text
    for secret in ("0123456789abcdef", "secret", "digest", str(home), "fault 9\n"):
        assert secret not in text


def test_it_needs_nothing_installed() -> None:
    line = [sys.executable, "-S", "-m", "marserve", "doctor"]
    done = subprocess.run(line, cwd=REPOSITORY / "src", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not installed: torch, torchvision" in done.stdout
    assert "No module named 'psutil'" in done.stdout
    assert "usable cores" in done.stdout
