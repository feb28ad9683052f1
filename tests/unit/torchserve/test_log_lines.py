"""Lines of different logs, in one order."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from marserve.torchserve.failures import LogWatch
from marserve.torchserve.log_lines import Follower, merged, parse_lines
from tests.unit.manage.listed import a_version

EPOCH = datetime.fromtimestamp(0, timezone.utc)
WEB = {"time": "2026-11-24T15:25:02.000+00:00", "level": "INFO", "logger": "web.access", "message": "request"}


def torchserve_line(text: str, *, at: datetime, level: str = "INFO", thread: str = "main") -> str:
    local = at.astimezone().strftime("%Y-%m-%dT%H:%M:%S,%f")[:-3]
    return f"{local} [{level:<5}] {thread} org.pytorch.serve.ModelServer - {text}"


@pytest.mark.parametrize(
    ("text", "level", "is_error"),
    [
        ("Model server started.", "INFO", False),
        ("Load model failed: resnet18", "WARN", True),
        ("Traceback (most recent call last):", "INFO", True),
        ("resnet18.errors.ConfigurationError: no such setting", "INFO", True),
        ("Loaded resnet18 1.0", "INFO", False),
    ],
)
def test_problems_are_told_from_the_rest(text: str, level: str, is_error: bool) -> None:
    [line] = parse_lines([torchserve_line(text, at=EPOCH, level=level)], "ts_log", EPOCH)
    assert (line.text, line.level, line.is_error) == (text, level, is_error)


def test_a_line_without_a_head_continues_the_one_before() -> None:
    first = torchserve_line("Exception", at=EPOCH, level="ERROR", thread="W-1")
    lines = list(parse_lines([first, "\tat java.lang"], "ts_log", EPOCH))
    assert [(line.time, line.origin, line.level) for line in lines] == [(EPOCH, "W-1", "ERROR")] * 2
    assert lines[1].text == "\tat java.lang"


def test_the_web_services_lines_keep_their_fields() -> None:
    [line] = parse_lines([json.dumps(WEB | {"status": 200})], "web", EPOCH)
    assert (line.text, line.origin, line.level) == ("request status=200", "web.access", "INFO")


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"time": 1}', '{"time": "yesterday", "level": "INFO", "message": ""}', "[1]"]
)
def test_what_only_looks_like_json_is_text(text: str) -> None:
    [line] = parse_lines([text], "web", EPOCH)
    assert (line.text, line.time) == (text, EPOCH)


def test_logs_are_merged_by_time_without_those_that_were_rotated_away(tmp_path: Path) -> None:
    at = datetime(2026, 11, 24, 15, 25, 1, tzinfo=timezone.utc)
    (tmp_path / "ts_log.log").write_text(torchserve_line("first", at=at) + "\n")
    (tmp_path / "web.log").write_text(json.dumps(WEB) + "\n")
    (tmp_path / "model_log.log").write_text(torchserve_line("last", at=at.replace(second=3)) + "\n")
    (tmp_path / "ts_log.1.log").write_text(torchserve_line("old", at=EPOCH) + "\n")
    (tmp_path / "access_log.log").write_text("2026-11-24T15:25:02,000 - GET\n")
    assert [line.text for line in merged(tmp_path)] == ["first", "request", "last"]


def test_following_tells_whole_new_lines_once_and_survives_rotation(tmp_path: Path) -> None:
    log = tmp_path / "ts_log.log"
    log.write_text(torchserve_line("before", at=EPOCH) + "\n")
    follower = Follower(tmp_path)
    line = torchserve_line("new", at=EPOCH) + "\n"
    with log.open("a") as file:
        file.write(line + line[:30])
    assert [line.text for line in follower.new_lines()] == ["new"]
    with log.open("a") as file:
        file.write(line[30:])
    assert [line.text for line in follower.new_lines()] == ["new"]
    log.rename(tmp_path / "ts_log.1.log")
    log.write_text(torchserve_line("after", at=EPOCH) + "\n")
    assert [line.text for line in follower.new_lines()] == ["after"]
    assert follower.new_lines() == []


def test_a_watch_tells_which_workers_of_a_version_fail_from_now_on_and_why(tmp_path: Path) -> None:
    version = a_version(version="2.0")
    model_log, ts_log = tmp_path / "model_log.log", tmp_path / "ts_log.log"
    model_log.write_text("\n".join(_traceback("ValueError: earlier", "W-9-resnet18_2.0-stdout")) + "\n")
    ts_log.write_text(torchserve_line("Retry worker: 9 in 1 seconds.", at=EPOCH, thread="W-9-resnet18_2.0") + "\n")
    watch = LogWatch(tmp_path)
    assert (watch.failed_workers(version), watch.reason(version, patience_s=0.0)) == (
        set(),
        "  The logs hold no reason.",
    )
    with model_log.open("a") as file:
        file.write("\n".join(_traceback("ValueError: the reason", "W-10-resnet18_2.0-stdout")) + "\n")
        file.write("\n".join(_traceback("ValueError: another version's", "W-8-resnet18_1.0-stdout")) + "\n")
    with ts_log.open("a") as file:
        for thread in ("W-8-resnet18_1.0", "W-10-resnet18_2.0", "W-11-resnet18_2.0"):
            text = "Load model failed: resnet18, error: Worker died." if "-11-" not in thread else "Connecting to: x"
            file.write(torchserve_line(text, at=EPOCH, thread=thread) + "\n")
    assert watch.failed_workers(version) == {"10"}
    assert watch.reason(version) == "  ValueError: the reason"


def _traceback(message: str, thread: str) -> list[str]:
    texts = ["Traceback (most recent call last):", '  File "handler.py", line 1', message]
    return [torchserve_line(text, at=EPOCH, thread=thread) for text in texts]
