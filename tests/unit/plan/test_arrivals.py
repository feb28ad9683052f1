"""Requests are due at the wanted mean rate, as bursty as was asked for, and at the same times for the same seed."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from marserve.plan.arrivals import ArrivalProcess, RecordingError, arrival_process, read_recording, variation
from tests.support import TRACES


@pytest.mark.parametrize(("name", "wanted"), [("poisson", 1.0), ("gamma-2", 2.0), ("gamma-4", 4.0)])
def test_gaps_vary_as_the_process_says_and_have_the_mean_rate(name: str, wanted: float) -> None:
    times = arrival_process(name).times(50_000, 200.0, seed=3)
    assert variation(times) == pytest.approx(wanted, rel=0.1)
    assert times[-1] == pytest.approx(50_000 / 200)
    assert all(earlier <= later for earlier, later in pairwise(times))


@pytest.mark.parametrize("name", ["poisson", "gamma-4"])
def test_every_rate_has_the_pattern_of_the_seed(name: str) -> None:
    process = arrival_process(name)
    slow, fast = process.times(100, 10.0, seed=1), process.times(100, 20.0, seed=1)
    assert slow == pytest.approx([2 * at for at in fast])
    assert process.times(100, 10.0, seed=2) != slow


def test_recording_keeps_its_pattern_at_the_wanted_rate(tmp_path: Path) -> None:
    recording = tmp_path / "calls.txt"
    recording.write_text("0\n0.1\n0.2\n9.8\n10\n")
    process = arrival_process(str(recording))
    times = process.times(12, 4.0, seed=5)  # more than the recording has: it begins anew
    assert process.name == "calls"
    assert times[-1] == pytest.approx(3.0)
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    assert gaps[-1] > 10 * gaps[len(gaps) // 2]


@pytest.mark.needs("recordings")
@pytest.mark.parametrize("name", ["azure-llm-2023-conv", "azure-llm-2023-code"])
def test_recordings_of_production_are_read(name: str) -> None:
    times = arrival_process(str(TRACES / f"{name}.txt")).times(2000, 100.0, seed=1)
    assert len(times) == 2000
    assert times[-1] == pytest.approx(20.0)


@pytest.mark.parametrize("name", ["uniform", "gamma-", "gamma-0", "/no/such/file.csv"])
def test_unknown_arrivals_are_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(ValueError, match="gamma-4"):
        arrival_process(name)


def test_requests_at_one_moment_have_no_rate() -> None:
    with pytest.raises(ValueError, match="one moment"):
        ArrivalProcess("still", recorded=(0.0, 0.0, 0.0)).times(3, 1.0, seed=1)


@pytest.mark.parametrize(
    ("name", "content", "seconds"),
    [
        ("a.csv", "time\n5\n7.5\n6\n", [0.0, 1.0, 2.5]),
        ("b.csv", "time,requests\n0,2\n10,0\n20,1\n", [0.0, 5.0, 22.5]),
        ("c.csv", "time,requests\n2026-11-24T10:00:00+00:00,1\n2026-11-24T10:00:04+00:00,1\n", [0.0, 4.0]),
    ],
)
def test_recordings_are_read(tmp_path: Path, name: str, content: str, seconds: list[float]) -> None:
    (tmp_path / name).write_text(content)
    assert read_recording(tmp_path / name) == seconds


def test_the_web_services_log_is_a_recording(tmp_path: Path) -> None:
    def line(second: int, **fields: object) -> str:
        entry = {"time": f"2026-11-24T10:00:{second:02}.500+00:00", "logger": "web.access", "duration_ms": 500.0}
        return json.dumps({**entry, **fields})

    (tmp_path / "web.log").write_text(
        "\n".join(
            [
                line(1, path="/predict"),
                line(2, path="/readyz"),
                line(3, path="/v2/models/resnet18/infer"),
                line(4, logger="web.catalogue"),
                "no JSON",
            ]
        )
    )
    assert read_recording(tmp_path / "web.log") == [0.0, 2.0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("when\n1\n", "has no column 'time'"),
        ("time\nnoon\n", "line 2: "),
        ("time,requests\n1,many\n", "line 2: "),
        ("time\n", "holds no requests"),
        ("", "has no column 'time'"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "r.csv").write_text(content)
    with pytest.raises(RecordingError, match=complaint):
        read_recording(tmp_path / "r.csv")


def test_text_is_read_as_one_time_a_line(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("5.0\n5.5\n7\n")
    assert read_recording(tmp_path / "r.txt") == [0.0, 0.5, 2.0]
    (tmp_path / "r.txt").write_text("5.0\nsoon\n")
    with pytest.raises(RecordingError, match="one time a line"):
        read_recording(tmp_path / "r.txt")
