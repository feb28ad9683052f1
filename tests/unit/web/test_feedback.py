"""Reports of wrong answers: what is taken, what is kept, and that nothing of it is ever half there."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marserve.archive.calibration import PictureLabels
from marserve.archive.labels.read import read_class_names
from marserve.handler.resnet18.labels import Label
from marserve.web.feedback import Feedback, FeedbackFullError, Report, ReportedClass, picture_path
from tests.unit.web.fake_torchserve import TRAINED, FakeTorchServe, java_error
from tests.unit.web.service import Reply, Service, StartService, form
from tests.unit.web.test_error_shape import check_shape

PICTURE = b"\xff\xd8\xff a photograph"
RIGHT = ReportedClass(1, "n01440764", "tench", 0.2)
KEY = "a-key-of-this-service"


def report(picture: bytes = PICTURE, right: ReportedClass | None = RIGHT, **changes: Any) -> Report:
    sha256 = hashlib.sha256(picture).hexdigest()
    known = Report(
        id=sha256[:8],
        time="2026-01-01T00:00:00.000+00:00",
        request_id="r",
        model="resnet18",
        version="1.0",
        weights="trained",
        predicted=ReportedClass(2, None, "shark", 0.5),
        right=right,
        picture_sha256=sha256,
        picture_bytes=len(picture),
        picture=picture_path("resnet18", right, sha256, picture),
    )
    return replace(known, **changes)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "reports.jsonl").read_text(encoding="utf-8").splitlines()]


def pictures(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix == ".jpg"
    )


def test_a_report_is_one_line_and_its_picture_lies_in_the_folder_of_its_class(tmp_path: Path) -> None:
    store = Feedback(tmp_path / "reports", 10**6)
    store.add(report(), PICTURE)
    store.add(report(note="again"), PICTURE)
    assert pictures(store.folder) == [f"labelled/resnet18/n01440764/{hashlib.sha256(PICTURE).hexdigest()}.jpg"]
    assert [line["note"] for line in lines(store.folder)] == ["", "again"]
    assert store.read() == [report(), report(note="again")]


def test_only_this_user_may_read_what_is_kept(tmp_path: Path) -> None:
    store = Feedback(tmp_path / "a" / "reports", 10**6)
    store.add(report(), PICTURE)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", *tmp_path.rglob("*")) if path.is_dir()} == {
        0o700
    }


def test_the_calibration_and_class_names_read_the_labelled_folder(tmp_path: Path) -> None:
    labels = [Label("n01440764", "tench"), Label(None, "roter Fuchs"), Label(None, "猫")]
    store = Feedback(tmp_path, 10**6)
    for number, label in enumerate(labels):
        picture = PICTURE + bytes([number])
        store.add(report(picture, ReportedClass(number, label.wnid, label.name)), picture)
    store.add(report(PICTURE, None, other="a fox"), PICTURE)
    class_of = PictureLabels(labels)
    folder = tmp_path / "labelled" / "resnet18"
    assert sorted(str(class_of(path)) for path in folder.rglob("*.jpg")) == ["0", "1", "2"]
    assert {label.name for label in read_class_names(folder).labels} == {"n01440764", "roter Fuchs", "猫"}


@pytest.mark.parametrize(
    "label", ["..", ".", ".hidden", "a/b", "/etc/passwd", "../../x", "a\0b", "a\nb", "x" * 201, "猫" * 67, ""]
)
def test_a_label_that_can_be_no_folder_is_called_by_its_number(label: str, tmp_path: Path) -> None:
    right = ReportedClass(7, None, label)
    path = picture_path("resnet18", right, "0" * 64, PICTURE)
    assert path == f"labelled/resnet18/class-7/{'0' * 64}.jpg"
    assert (tmp_path / path).resolve().is_relative_to(tmp_path / "labelled")


@pytest.mark.parametrize("model", ["../../etc", "..", "a/b", "模型"])
def test_a_models_name_is_one_folder(model: str) -> None:
    assert picture_path(model, None, "0" * 64, PICTURE).count("/") == 2
    assert "/../" not in picture_path(model, None, "0" * 64, PICTURE)


@pytest.mark.parametrize("cut", [1, 10, 10**6])
def test_what_a_crash_cut_off_is_taken_back(tmp_path: Path, cut: int) -> None:
    store = Feedback(tmp_path, 10**6)
    store.add(report(), PICTURE)
    file = tmp_path / "reports.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: min(cut, len(whole) - 1)])
    store.add(report(note="after"), PICTURE)
    assert [line["note"] for line in lines(tmp_path)] == ["", "after"]


def test_what_a_killed_process_had_begun_is_removed(tmp_path: Path) -> None:
    begun = tmp_path / "labelled" / "resnet18" / "n01440764" / ".half.jpg.1234"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"half")
    Feedback(tmp_path, 10**6).add(report(), PICTURE)
    assert not begun.exists()


def test_a_disk_that_is_full_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Feedback(tmp_path, 10**6)
    store.add(report(), PICTURE)
    import os

    write = os.write
    monkeypatch.setattr("marserve.web.feedback.os.write", lambda descriptor, line: write(descriptor, line[:20]))
    with pytest.raises(FeedbackFullError):
        store.add(report(note="lost"), PICTURE)
    monkeypatch.undo()
    store.add(report(note="kept"), PICTURE)
    assert [line["note"] for line in lines(tmp_path)] == ["", "kept"]


def test_nothing_is_added_beyond_the_limit(tmp_path: Path) -> None:
    store = Feedback(tmp_path, 30_000)
    count = 0
    with suppress(FeedbackFullError):
        for count in range(100):
            picture = PICTURE + bytes([count])
            store.add(report(picture), picture)
    # Small files count as the blocks that they take.
    assert count == len(pictures(tmp_path)) == len(lines(tmp_path)) == 4
    # A person makes room, and another process has its own count.
    assert Feedback(tmp_path).delete(lambda one: one.picture_sha256 != report(PICTURE + b"\0").picture_sha256) == 3
    store.add(report(PICTURE), PICTURE)


#: Adds many reports, as a web service would; its first argument is the folder, its second makes its pictures its own.
WRITER = """
import hashlib, sys
from pathlib import Path
from marserve.web.feedback import Feedback, Report, ReportedClass, picture_path
folder, number, count, size = Path(sys.argv[1]), *map(int, sys.argv[2:])
store = Feedback(folder, 10**9)
right = ReportedClass(1, None, "tench")
for index in range(count):
    picture = b"\\xff\\xd8\\xff%d-%d" % (number, index) + bytes(size)
    sha256 = hashlib.sha256(picture).hexdigest()
    store.add(Report(id=sha256, time="", request_id="", model="m", version="1", weights="", predicted=right,
        right=right, note="x" * 3000, picture_sha256=sha256, picture_bytes=len(picture),
        picture=picture_path("m", right, sha256, picture)), picture)
"""


def start_writer(folder: Path, number: int, *, count: int, size: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(number), str(count), str(size)])


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, number, count=20, size=100) for number in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len({line["id"] for line in lines(tmp_path)}) == len(pictures(tmp_path)) == 60


def test_a_kill_at_any_moment_leaves_only_whole_lines_and_pictures(tmp_path: Path) -> None:
    for attempt in range(6):
        before = len(pictures(tmp_path))
        writer = start_writer(tmp_path, attempt, count=10_000, size=300_000)
        deadline = time.monotonic() + 60
        while len(pictures(tmp_path)) < before + 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.003 * attempt)
        writer.kill()
        writer.wait(60)
    Feedback(tmp_path, 10**9).add(report(), PICTURE)
    kept = lines(tmp_path)
    assert len(kept) > 6
    for path in tmp_path.rglob("*.jpg"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    assert {line["picture"] for line in kept} <= set(pictures(tmp_path))
    assert not list((tmp_path / "labelled").rglob(".*"))


def test_a_deleted_reports_picture_stays_where_another_report_is_about_it(tmp_path: Path) -> None:
    store = Feedback(tmp_path, 10**6)
    store.add(report(id="1"), PICTURE)
    store.add(report(id="2"), PICTURE)
    store.add(report(b"\xff\xd8\xff other", id="3"), b"\xff\xd8\xff other")
    assert store.delete(lambda one: one.id == "1") == 1
    assert len(pictures(tmp_path)) == 2
    assert store.delete(lambda one: one.id == "2") == 1
    assert len(pictures(tmp_path)) == 1
    (tmp_path / "labelled" / "resnet18" / "orphan.jpg").write_bytes(PICTURE)
    assert store.delete(lambda one: one.id == "3") == 1
    assert (pictures(tmp_path), lines(tmp_path)) == ([], [])


async def classes(service: Service, model: str = "resnet18") -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await service.get(f"/models/{model}/classes")).json["classes"]
    return listed


async def answer(service: Service) -> dict[str, Any]:
    first: dict[str, Any] = (await service.post("/classify", PICTURE)).json["predictions"][0]
    return first


def wrong(service: Service, body: Any = None, query: str = "", **headers: str) -> Any:
    return service.post(f"/feedback{query}", PICTURE if body is None else body, headers=headers)


@pytest.mark.anyio
async def test_a_report_is_taken_only_where_there_is_a_folder(service: Service, torchserve: FakeTorchServe) -> None:
    check_shape(await wrong(service, query="?class_id=1"), 404, "FeedbackOff")
    assert (await service.get("/models")).json["feedback"] is False
    assert torchserve.pictures == []


@pytest.mark.anyio
async def test_what_is_kept_of_a_report(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service(feedback_dir=tmp_path)
    assert (await service.get("/models")).json["feedback"] is True
    answered = await answer(service)
    right = (answered["class_id"] + 3) % 10
    reply = await wrong(service, query=f"?class_id={right}&note=dark%0a%1b[2J&model=resnet18")
    assert reply.status == 201, reply.body
    (line,) = lines(tmp_path)
    assert reply.json["id"] == line["id"]
    assert line["predicted"] == {key: answered[key] for key in ("class_id", "wnid", "label", "probability")}
    assert (line["right"]["class_id"], line["model"], line["version"], line["weights"]) == (
        right,
        "resnet18",
        "1.0",
        "trained",
    )
    assert line["request_id"] == reply.headers["X-Request-ID"]
    assert line["note"] == "dark [2J"  # nothing that steers a terminal
    assert line["picture_sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert (tmp_path / line["picture"]).read_bytes() == PICTURE
    assert "127.0.0.1" not in json.dumps(line)
    assert await service.metric('web_feedback_total{outcome="kept"}') == 1


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["query", "form", "json"])
async def test_every_form_of_a_request_says_the_same(start_service: StartService, tmp_path: Path, kind: str) -> None:
    service = await start_service(feedback_dir=tmp_path)
    known = await classes(service)
    answered = await answer(service)
    right = next(one for one in known if one["class_id"] != answered["class_id"])
    said = {"label": right["label"], "note": "a note"}
    if kind == "query":
        reply = await service.post("/feedback", PICTURE, params=said)
    elif kind == "form":
        body = form(PICTURE)
        for name, value in said.items():
            body.add_field(name, value)
        reply = await service.post("/feedback", body)
    else:
        reply = await service.post(
            "/feedback", json.dumps({"image": base64.b64encode(PICTURE).decode(), **said}).encode()
        )
    assert reply.status == 201, reply.body
    assert [(line["right"]["class_id"], line["note"]) for line in lines(tmp_path)] == [(right["class_id"], "a note")]


@pytest.mark.anyio
async def test_what_is_none_of_the_classes_is_kept_apart(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service(feedback_dir=tmp_path)
    reply = await wrong(service, query="?other=a%20fox&predicted_class_id=3")
    assert (reply.status, reply.json["right"], reply.json["predicted"]["class_id"]) == (201, None, 3)
    (line,) = lines(tmp_path)
    assert (line["right"], line["other"], line["predicted"]["class_id"]) == (None, "a fox", 3)
    assert line["picture"].startswith("unlabelled/resnet18/")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("query", "status", "kind", "hint"),
    [
        ("", 400, "InvalidParameter", "one of class_id, label and other"),
        ("?class_id=1&other=x", 400, "InvalidParameter", "one of class_id, label and other"),
        ("?class_id=10", 400, "InvalidParameter", "no such class"),
        ("?class_id=-1", 400, "InvalidParameter", "class_id"),
        ("?class_id=x", 400, "InvalidParameter", "class_id"),
        ("?label=nothing", 400, "InvalidParameter", "no such class"),
        ("?class_id=1&predicted_class_id=99", 400, "InvalidParameter", "no such class"),
        ("?class_id=4&predicted_class_id=4", 400, "InvalidParameter", "nothing wrong"),
        (f"?other={'x' * 201}", 400, "InvalidParameter", "other"),
        (f"?class_id=1&note={'x' * 1001}", 400, "InvalidParameter", "note"),
        ("?class_id=1&model=nope", 404, "UnknownModel", "resnet18"),
        ("?class_id=1&model=..%2F..%2Fetc", 404, "UnknownModel", "resnet18"),
    ],
)
async def test_what_is_refused_leaves_nothing(
    start_service: StartService, tmp_path: Path, query: str, status: int, kind: str, hint: str
) -> None:
    service = await start_service(feedback_dir=tmp_path)
    reply = await wrong(service, query=query)
    check_shape(reply, status, kind)
    assert hint in reply.json["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_a_report_passes_what_every_picture_passes(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    service = await start_service(feedback_dir=tmp_path, api_keys=[KEY], rate_limit_per_minute=4, max_image_bytes=1000)
    query = "?other=a%20fox"
    check_shape(await wrong(service, query=query), 401, "ApiKeyRequired")
    check_shape(await wrong(service, b"\xff\xd8\xff" + bytes(2000), query, **{"X-API-Key": KEY}), 413, "ImageTooLarge")
    check_shape(await wrong(service, b"", query, **{"X-API-Key": KEY}), 400, "InvalidRequest")

    async def refuse(*_: Any) -> Any:
        return java_error(415, "UnsupportedImage", "This is no picture.")

    torchserve.behaviour = refuse
    check_shape(await wrong(service, b"a text", query, **{"X-API-Key": KEY}), 415, "UnsupportedImage")
    torchserve.behaviour = torchserve.answer
    assert (await wrong(service, query=query, **{"X-API-Key": KEY})).status == 201
    check_shape(await wrong(service, query=query, **{"X-API-Key": KEY}), 429, "RateLimited")
    assert len(lines(tmp_path)) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://friend.example"}, 201),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://behind-a-proxy.example"}, 201),
        ({}, 201),
    ],
)
async def test_pages_of_others_cannot_have_a_browser_report(
    start_service: StartService, tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    service = await start_service(feedback_dir=tmp_path, cors_origins=["https://friend.example"])
    reply = await service.post("/feedback?other=x", PICTURE, headers=headers)
    assert reply.status == status
    assert len(pictures(tmp_path)) == (status == 201)


@pytest.mark.anyio
async def test_a_full_folder_is_said_and_counted(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service(feedback_dir=tmp_path, feedback_max_bytes=1000)
    reply = await wrong(service, query="?other=x")
    check_shape(reply, 507, "StorageFull")
    assert "export and delete" in reply.json["message"]
    assert await service.metric('web_feedback_total{outcome="full"}') == 1


@pytest.mark.anyio
async def test_the_classes_are_listed_in_their_order_and_asked_once(
    service: Service, torchserve: FakeTorchServe
) -> None:
    known = await classes(service)
    assert [one["class_id"] for one in known] == list(range(10))
    assert known[0].keys() == {"class_id", "wnid", "label"}
    count = len(torchserve.pictures)
    await classes(service)
    assert len(torchserve.pictures) == count
    assert (await service.get("/models/nope/classes")).status == 404


@pytest.mark.anyio
async def test_more_classes_than_an_answer_has_are_not_listed_but_reported(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    torchserve.archives["resnet18", "1.0"] = {**TRAINED, "class_count": 5000}
    service = await start_service(feedback_dir=tmp_path)
    check_shape(await service.get("/models/resnet18/classes"), 400, "InvalidRequest")
    answered = await answer(service)
    reply: Reply = await wrong(service, query=f"?class_id={(answered['class_id'] + 1) % 10}")
    assert reply.status == 201, reply.body


@pytest.mark.anyio
async def test_the_example_of_the_document_is_understood(start_service: StartService, tmp_path: Path) -> None:
    service = await start_service(feedback_dir=tmp_path)
    document = (await service.get("/openapi.json")).json
    operation = document["paths"]["/feedback"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    example["other"] = example.pop("label")  # the labels of this test are others
    assert (await service.post("/feedback", json.dumps(example).encode())).status == 201
    assert {"201", "404", "507"} <= operation["responses"].keys()


@pytest.mark.anyio
@pytest.mark.parametrize("failure", [errno.EROFS, errno.EACCES, errno.EMFILE, errno.EIO])
async def test_a_folder_that_cannot_be_written_is_503_and_told(
    start_service: StartService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(failure, os.strerror(failure))

    service = await start_service(feedback_dir=tmp_path / "reports")
    monkeypatch.setattr(Feedback, "_add", fail)
    reply = await wrong(service, query="?other=x")
    check_shape(reply, 503, "Overloaded")
    assert "Retry-After" in reply.headers
    assert await service.metric('web_feedback_total{outcome="failed"}') == 1
