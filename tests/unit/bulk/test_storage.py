"""Where results go, seen from what it is asked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from marserve.bulk.storage import Folder
from tests.deploy.object_store import object_store


@pytest.mark.needs("moto_server")
def test_a_file_of_results_is_one_request_to_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    with object_store(log, "one-request") as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        folder = Folder("s3://one-request/2026")
        assert folder.files() == []
        folder.write("part.parquet", b"rows")
        assert folder.read("part.parquet") == b"rows"
        assert folder.files() == ["part.parquet"]
        with pytest.raises(FileNotFoundError):
            folder.read("gone.parquet")
    changes = re.findall(r'"((?:PUT|POST|DELETE) \S+)', log.read_text(encoding="utf-8"))
    assert changes == ["PUT /one-request", "PUT /one-request/2026/part.parquet"]


INTERRUPTED = """
import os, signal, sys
from marserve.bulk import storage

class System:
    def __init__(self, name):
        self.system, self.path = found(name)
    def open_output_stream(self, path):
        stream = self.system.open_output_stream(path)
        os.kill(os.getpid(), signal.SIGTERM)
        return stream

def interrupted(name):
    system = System(name)
    return system, system.path

signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
found, storage.open_file_system = storage.open_file_system, interrupted
storage.Folder(sys.argv[1]).write("part.parquet", b"rows")
"""


def test_a_process_that_is_ended_while_it_writes_leaves_no_half_file(tmp_path: Path) -> None:
    """As Ray ends its actors: with a signal that raises SystemExit."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, f"file://{tmp_path}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 15, done.stderr
    assert (tmp_path / "part.parquet").read_bytes() == b"rows"
