"""What a stack keeps on disk."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from marserve.stack.run_directory import LONGEST_TEMP, RunDirectory


def test_a_start_keeps_what_is_deployed_and_the_last_logs_and_nothing_else(tmp_path: Path) -> None:
    directory = RunDirectory(5000, tmp_path)
    directory.prepare()
    (directory.logs / "ts_log.log").write_text("last")
    directory.model_store.mkdir()
    (directory.model_store / "deployed.mar").touch()
    directory.model_store.chmod(0o500)
    temp = directory.prepare()
    assert (directory.previous_logs / "ts_log.log").read_text() == "last"
    assert list(directory.logs.iterdir()) == []
    assert [file.name for file in directory.model_store.iterdir()] == ["deployed.mar"]
    assert directory.path.stat().st_mode & 0o777 == 0o700
    assert directory.workflow_store.stat().st_mode & 0o222 == 0
    assert temp.parent == directory.path


def test_clearing_leaves_only_logs_and_what_is_deployed(tmp_path: Path) -> None:
    directory = RunDirectory(5000, tmp_path)
    temp = directory.prepare()
    directory.model_store.mkdir(mode=0o500)
    for file in (directory.key_file, directory.config, directory.state):
        file.touch()
    directory.clear(temp)
    directory.clear(temp)
    assert sorted(entry.name for entry in directory.path.iterdir()) == ["logs", "model_store"]
    assert directory.model_store.stat().st_mode & 0o777 == 0o700, "nobody could delete it"


def test_clearing_spares_the_working_directory_where_no_other_was_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious").touch()
    RunDirectory(5000, tmp_path / "run").clear(Path())
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("deep_too", [False, True])
def test_a_place_too_deep_for_sockets_gets_its_temp_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deep_too: bool
) -> None:
    if deep_too:
        deep = tmp_path / "図" / ("t" * LONGEST_TEMP)
        deep.mkdir(parents=True)
        monkeypatch.setattr(tempfile, "tempdir", str(deep))
    directory = RunDirectory(5000, tmp_path / ("d" * LONGEST_TEMP))
    temp = directory.prepare()
    try:
        assert len(str(temp)) <= LONGEST_TEMP
        assert temp.stat().st_mode & 0o777 == 0o700
        assert directory.path not in temp.parents
    finally:
        shutil.rmtree(temp)
