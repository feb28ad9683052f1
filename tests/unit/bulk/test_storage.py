"""Where results go, seen from what it is asked."""

from __future__ import annotations

import re
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
