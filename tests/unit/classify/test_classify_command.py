"""``marserve classify`` against a server that answers as it is told."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from marserve.system.loopback import free_ports
from marserve.system.waiting import wait_until
from tests.unit.fake_server import Answer, FakeServer, classification, error

COMMAND = [sys.executable, "-m", "marserve", "classify"]
TIMEOUT_S = 60
KEY = "canary-0123456789"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.jpg").write_bytes(str(number).encode())
    return folder


def classify(
    server: FakeServer, *arguments: object, given: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--url", server.url, *map(str, arguments)]
    return subprocess.run(command, input=given, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_standard_output_has_every_picture_in_order(server: FakeServer, pictures: Path, form: str) -> None:
    done = classify(server, pictures, "--format", form, "--top-k", 1)
    assert (done.returncode, done.stderr) == (0, "")
    expected = [str(path) for path in sorted(pictures.iterdir())]
    if form == "jsonl":
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["path"] for line in lines] == expected
        assert lines[0]["predictions"][0]["label"] == "tabby"
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert [row["path"] for row in rows] == expected
        assert (rows[0]["label_1"], rows[0]["probability_1"]) == ("tabby", "0.83")
    else:
        header, *lines_of_table = done.stdout.splitlines()
        assert header.split(maxsplit=1) == ["PICTURE", "MOST PROBABLE CLASSES (resnet18 1.0)"]
        assert len(lines_of_table) == 12
        assert all(line.endswith("83.0% tabby") for line in lines_of_table)
        assert [line.split()[0] for line in lines_of_table] == expected  # whole: standard output is no terminal


def test_what_a_folder_holds_besides_is_named_and_an_unreadable_picture_is_a_failure(
    server: FakeServer, pictures: Path
) -> None:
    (pictures / "notes.txt").touch()
    done = classify(server, pictures)
    assert (done.returncode, done.stderr) == (0, "1 file skipped: 1 .txt\n")
    (pictures / "IMG_0002.DNG").touch()
    done = classify(server, pictures)
    assert done.returncode == 1
    assert "2 files skipped: 1 .dng (cannot be read: export as JPEG), 1 .txt" in done.stderr
    assert "12 classified, 1 failed" in done.stderr


def test_many_pictures_fill_the_gaps_of_others_and_one_does_not(server: FakeServer, pictures: Path) -> None:
    for arguments, priority in (
        ([pictures], "bulk"),
        ([pictures / "01.jpg"], None),
        ([pictures, "--priority", "interactive"], None),
        ([pictures / "01.jpg", "--priority", "bulk"], "bulk"),
    ):
        server.requests.clear()
        assert classify(server, *arguments).returncode == 0
        assert {request.headers.get("X-Priority") for request in server.requests} == {priority}


def listed(*formats: str) -> Answer:
    models = [{"name": name, "picture_formats": list(formats)} for name in ("resnet18", "other")]
    return Answer(content={"default": "resnet18", "models": models})


def test_heic_is_sent_to_a_service_that_reads_it(server: FakeServer, pictures: Path) -> None:
    (pictures / "IMG_0001.HEIC").write_bytes(b"heic")
    server.answers = [listed("JPEG", "HEIC"), Answer(content=classification())]
    done = classify(server, pictures, "--model", "other")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 14
    assert b"heic" in [request.body for request in server.requests]


def test_heic_that_the_service_cannot_read_is_counted_as_failed_with_what_to_install(
    server: FakeServer, pictures: Path
) -> None:
    for number in range(3):
        (pictures / f"IMG_{number}.HEIC").touch()
    (pictures / "IMG_0.MOV").touch()
    server.answers = [listed("JPEG"), Answer(content=classification())]
    done = classify(server, pictures)
    assert done.returncode == 1
    assert (
        '4 files skipped: 3 .heic (needs a decoder where the service runs: pip install "marserve[heif]"' in done.stderr
    )
    assert done.stderr.splitlines()[0].endswith("), 1 .mov")
    assert "12 classified, 3 failed" in done.stderr
    assert len(server.requests) == 13


def test_a_folder_without_a_readable_picture_fails(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").touch()
    server.answers = [listed("JPEG")]
    done = classify(server, tmp_path)
    assert done.returncode == 2
    assert "no picture found; 1 file skipped: 1 .heic" in done.stderr


@pytest.mark.parametrize(
    "answer",
    [
        error(404, "NotFound"),
        Answer(content=[]),
        Answer(content=b"<html>"),
        Answer(content={"default": None, "models": []}),
    ],
)
def test_a_service_that_does_not_say_what_it_reads_is_sent_heic(
    server: FakeServer, pictures: Path, answer: Answer
) -> None:
    (pictures / "IMG_0001.HEIC").touch()
    server.answers = [answer, Answer(content=classification())]
    done = classify(server, pictures)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.requests) == 14


@pytest.mark.parametrize("name", ["results.jsonl", "results.csv"])
def test_failures_are_told_and_asked_again_by_the_next_run(
    server: FakeServer, pictures: Path, tmp_path: Path, name: str
) -> None:
    server.answers = [error(415, "UnsupportedImage", "Send a JPEG.")] * 3 + [Answer(content=classification())]
    file = tmp_path / name
    first = classify(server, pictures, "--output", file)
    assert first.returncode == 1
    assert first.stderr.count("Send a JPEG. (UnsupportedImage)") == 3
    assert "9 classified, 3 failed, 0 not sent" in first.stderr
    second = classify(server, pictures, "--output", file)
    assert second.returncode == 0
    assert "3 classified, 9 known from before" in second.stderr
    assert len(server.requests) == 15
    assert len(file.read_text().splitlines()) == 12 + (name == "results.csv")


def test_ctrl_c_keeps_what_was_answered_and_says_how_to_go_on(
    server: FakeServer, pictures: Path, tmp_path: Path
) -> None:
    server.answers = [Answer(content=classification(), after_s=0.2)]
    file = tmp_path / "results.jsonl"
    command = [*COMMAND, "--url", server.url, str(pictures), "--output", str(file), "--parallel", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: len(server.requests) >= 3, TIMEOUT_S, poll_s=0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "Interrupted." in errors
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    assert len(file.read_text().splitlines()) == len(server.requests) < 12  # nothing asked was thrown away
    done = classify(server, pictures, "--output", file)
    assert done.returncode == 0
    assert len(server.requests) == 12


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
@pytest.mark.parametrize(
    ("weights", "warning"), [("untrained", "are random"), ("demonstration", "demonstration model")]
)
def test_whose_labels_they_are_is_said_once_where_the_trained_weights_are_missing(
    server: FakeServer, pictures: Path, form: str, weights: str, warning: str
) -> None:
    server.answers = [Answer(content={**classification(), "weights": weights})]
    done = classify(server, pictures, "--format", form)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert warning in done.stderr


def test_a_lone_picture_that_fails_is_reported_in_one_line(server: FakeServer, pictures: Path) -> None:
    server.answers = [error(415, "UnsupportedImage", "Send a JPEG.")]
    done = classify(server, pictures / "00.jpg")
    assert done.returncode == 1
    assert done.stderr == f"{pictures / '00.jpg'}: Send a JPEG. (UnsupportedImage)\n"


def test_an_address_without_a_scheme_is_taken_for_http(server: FakeServer, pictures: Path) -> None:
    bare = server.url.removeprefix("http://")
    for address in (bare, f"{bare}/", bare.replace("127.0.0.1", "localhost")):
        assert classify(server, pictures / "00.jpg", "--url", address).returncode == 0


def test_a_person_need_not_wait_to_learn_that_nothing_runs(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("MARSERVE_WEB_PORT", str(port))
    line = [*COMMAND, str(pictures / "00.jpg"), "--deadline", "0.2"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    first, last = done.stderr.splitlines()
    assert first.startswith(f"Nothing answers on web port {port}; waiting. Start it with MARSERVE_WEB_PORT={port} ")
    assert last.endswith("is the service running?")


def test_a_picture_comes_from_standard_input(server: FakeServer, pictures: Path) -> None:
    done = classify(server, "-", "--format", "jsonl", given="a picture")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["path"] == "/dev/stdin"
    assert [request.body for request in server.requests] == [b"a picture"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
def test_pictures_come_from_a_list(server: FakeServer, pictures: Path, tmp_path: Path, end: str) -> None:
    (pictures / "a[1].jpg").write_bytes(b"brackets")
    names = ["pictures/03.jpg", "pictures/a[1].jpg", "pictures/01.jpg"]
    done = classify(server, "--files-from", "-", "--format", "csv", given=end.join([*names, ""]), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["path"] for row in csv.DictReader(io.StringIO(done.stdout))] == names
    (tmp_path / "list").write_text(f"gone.jpg\n{pictures}\n")
    done = classify(server, "--files-from", "list", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == (
        "gone.jpg: The picture cannot be read: No such file or directory. (PictureUnreadable)"
    )
    assert "13 classified, 1 failed, 0 not sent" in done.stderr


def test_labels_are_asked_for_in_chinese_and_the_number_by_the_format(server: FakeServer, pictures: Path) -> None:
    one = pictures / "00.jpg"
    for arguments in (["--lang", "zh"], ["--format", "jsonl"], ["--top-k", "7", "--lang", "en"]):
        assert classify(server, one, *arguments).returncode == 0
    queries = [request.path.partition("?")[2] for request in server.requests]
    assert queries == ["top_k=3&lang=zh", "top_k=5", "top_k=7"]


def test_classes_below_the_threshold_are_left_out(server: FakeServer, pictures: Path) -> None:
    done = classify(server, pictures / "00.jpg", "--threshold", "83.1", "--format", "jsonl")
    assert json.loads(done.stdout)["predictions"] == []
    done = classify(server, pictures / "00.jpg", "--threshold", "82.9")
    assert "83.0% tabby" in done.stdout


def test_quiet_leaves_results_and_failures(server: FakeServer, pictures: Path, tmp_path: Path) -> None:
    (pictures / "notes.txt").touch()
    server.answers = [error(415, "UnsupportedImage", "Send a JPEG."), Answer(content=classification())]
    done = classify(server, pictures, "-q", "--parallel", 1, "--output", tmp_path / "r.csv")
    assert done.returncode == 1
    assert done.stderr == f"{pictures / '00.jpg'}: Send a JPEG. (UnsupportedImage)\n"


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_table_that_is_no_terminals_is_whole_and_plain(
    server: FakeServer, pictures: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = pictures / ("x" * 60) / "cat.jpg"
    deep.parent.mkdir()
    deep.touch()
    label = "a label that is longer than any column of a table would be"
    server.answers = [Answer(content=classification(label))]
    for name, value in {"COLUMNS": "40", **variables}.items():
        monkeypatch.setenv(name, value)
    done = classify(server, deep)
    assert done.stdout.splitlines()[1].split(maxsplit=2) == [str(deep), "83.0%", label]
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("failure", [error(401, "ApiKeyRequired", "Send a key."), None], ids=["no key", "nobody"])
def test_a_run_ends_at_once_where_no_picture_can_succeed(
    server: FakeServer, pictures: Path, failure: Answer | None
) -> None:
    if failure is not None:
        server.answers = [failure]
        done = classify(server, pictures, "--parallel", 1)
        assert done.stderr.count("Send a key.") == 1
    else:
        url = f"http://127.0.0.1:{free_ports(1)[0]}"
        done = classify(server, pictures, "--url", url, "--deadline", 0.5)
        assert done.stderr.count("is the service running?") == 1
    assert done.returncode == 1
    assert "0 classified, 1 failed, 11 not sent" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["absent.jpg"], ["--top-k", "0", "."], ["--parallel", "x", "."], ["--deadline", "0", "."],
        ["--format", "xml", "."], ["--format", "table", "--output", "x", "."], ["--url", "nowhere", "."],
        ["--output", "x.xlsx", "."], ["--output", "/nope/x.jsonl", "."], ["-", "--files-from", "-"],
        ["--files-from", "/nope"], ["--files-from", "-"], ["--files-from", "/dev/null"], ["--lang", "de", "."],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_status_2(server: FakeServer, pictures: Path, arguments: list[str]) -> None:
    named = [str(pictures) if argument == "." else argument for argument in arguments]
    done = classify(server, *named)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert not server.requests


def test_an_output_that_is_no_file_of_results_is_left_alone(server: FakeServer, pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text("mine\n")
    done = classify(server, pictures, "--output", file)
    assert done.returncode == 1
    assert "another --output" in done.stderr
    assert file.read_text() == "mine\n"


@pytest.mark.parametrize("name", ["results.jsonl", "results.csv"])
def test_on_a_full_disk_the_results_so_far_stay_whole_and_the_next_run_goes_on(
    server: FakeServer, pictures: Path, tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    arguments = shlex.join([*COMMAND, "--url", server.url, str(pictures), "--top-k", "1", "--output", str(file)])
    limited = subprocess.run(
        ["/bin/bash", "-c", f"ulimit -f 1; exec {arguments}"],  # 1024 bytes: some results and a part of one
        # Where coverage is measured, its file could not grow either.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert limited.returncode == 1
    assert f"A file may not grow any further ({file}: File too large)" in limited.stderr
    assert "Traceback" not in limited.stderr
    known = file.read_text().splitlines()
    assert file.read_bytes().endswith(b"\n")
    assert all("tabby" in line for line in known[name.endswith(".csv") :])
    done = classify(server, pictures, "--top-k", 1, "--output", file)
    assert done.returncode == 0, done.stderr
    assert 1 <= len(server.requests) <= 24
    assert file.read_text().splitlines()[: len(known)] == known
    assert file.read_text().count("tabby") == 12


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null", "/dev/zero"])
def test_what_is_no_file_keeps_no_results(server: FakeServer, pictures: Path, device: str) -> None:
    done = classify(server, pictures, "--output", device, "--format", "csv")
    assert done.returncode == 1
    assert f"{device} keeps nothing that one could go on from" in done.stderr
    assert server.requests == []


@pytest.mark.parametrize("given", [("--api-key", KEY), (f"--api-key={KEY}",)], ids=["two words", "one word"])
def test_a_key_on_the_command_line_is_sent_and_no_longer_seen(
    server: FakeServer, pictures: Path, given: tuple[str, ...]
) -> None:
    server.answers = [Answer(content=classification(), after_s=1)]
    line = [*COMMAND, "--url", server.url, *given, str(pictures / "01.jpg")]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert wait_until(lambda: any(request.method == "POST" for request in server.requests), TIMEOUT_S)
        shown = psutil.Process(process.pid).cmdline()
        assert process.communicate(timeout=TIMEOUT_S)[0]
    assert str(pictures / "01.jpg") in shown
    assert not [word for word in shown if KEY in word]
    assert server.requests[-1].headers["X-API-Key"] == KEY
