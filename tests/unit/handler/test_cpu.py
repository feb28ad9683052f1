from pathlib import Path

import pytest

from marserve.handler.resnet18.cpu import WORKERS_VARIABLE, threads_per_worker, usable_cores


@pytest.fixture(autouse=True)
def _eight_cores_and_no_word_about_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv(WORKERS_VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("nonsense", 8)],
)
def test_a_container_quota_caps_the_cores(tmp_path: Path, quota: str, cores: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota + "\n")
    assert usable_cores(file) == cores


def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "absent") == 8


@pytest.mark.parametrize(
    ("told", "configured", "threads"),
    [
        ("2", None, 4),
        ("3", None, 2),
        ("16", None, 1),
        ("2", 8, 4),
        ("", 4, 2),
        ("", None, 1),
        ("0", None, 1),
        ("x", 2, 4),
    ],
)
def test_all_workers_together_use_each_core_once(
    monkeypatch: pytest.MonkeyPatch, told: str, configured: int | None, threads: int
) -> None:
    monkeypatch.setenv(WORKERS_VARIABLE, told)
    assert threads_per_worker(configured, cores=8) == threads
