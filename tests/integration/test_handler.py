"""The handler with TorchServe's own context, on an unpacked archive."""

from __future__ import annotations

import base64
import gc
import io
import json
import weakref
from collections import Counter
from copy import copy
from pathlib import Path
from threading import Barrier, Thread, current_thread
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from ts.context import Context, RequestProcessor

from marserve.handler.resnet18 import heif
from marserve.handler.resnet18.cpu import THREADS_VARIABLE
from marserve.handler.resnet18.engines import factory
from marserve.handler.resnet18.engines.base import Pixels, Probabilities
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.formats import readable_formats
from marserve.handler.resnet18.groups import ANSWERS, GROUP, decode_answers, encode_group
from marserve.handler.resnet18.handler import ClassificationHandler
from marserve.handler.resnet18.requests import BARE_PICTURE
from tests.heic import heic, picture
from tests.support import CAT

JPEG = CAT.read_bytes()
TRUNCATED = JPEG[: len(JPEG) // 2]


class Served:
    """One handler, asked as TorchServe asks it."""

    def __init__(self, directory: Path, metrics: object = None, **settings: object) -> None:
        config = yaml.safe_load((directory / "model-config.yaml").read_text())
        config["handler"].update(settings)
        self.context = Context("resnet18", str(directory), {}, 8, None, "0.12.0", model_yaml_config=config)
        self.context.metrics = metrics
        self.handler = ClassificationHandler()
        self.handler.initialize(self.context)

    def ask(self, *requests: tuple[dict[str, Any], dict[str, str]]) -> list[tuple[int, Any]]:
        """One batch; status and JSON content of each answer."""
        answers = self.ask_raw(*requests)
        assert {kind for _, kind, _ in answers} == {"application/json"}
        return [(status, json.loads(body)) for status, _, body in answers]

    def ask_raw(self, *requests: tuple[dict[str, Any], dict[str, str]]) -> list[tuple[int, str | None, bytes]]:
        """One batch; status, media type and body of each answer."""
        self.context.request_processor = [RequestProcessor(headers) for _, headers in requests]
        self.context.request_ids = {index: f"request-{index}" for index in range(len(requests))}
        bodies = self.handler.handle([fields for fields, _ in requests], self.context)
        return [
            (self.context.get_response_status(index)[0], self.context.get_response_content_type(index), body)
            for index, body in enumerate(bodies)
        ]


@pytest.fixture(scope="module")
def resnet18(resnet18_directory: Path) -> Served:
    return Served(resnet18_directory, precision="f32")


@pytest.fixture(scope="module")
def demonstration(demonstration_directory: Path) -> Served:
    return Served(demonstration_directory, precision="f32")


def raw(body: object = JPEG, **headers: str) -> tuple[dict[str, Any], dict[str, str]]:
    return {"body": body}, {name.replace("_", "-"): value for name, value in headers.items()}


def group(*pictures: tuple[int, bytes], **headers: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Pictures, each with its ``top_k``, as one request."""
    return raw(bytearray(b"".join(encode_group(pictures))), Content_Type=GROUP, **headers)


def infer_alike(pixels: Pixels) -> tuple[Probabilities, None]:
    """An engine whose answers depend on nothing but the picture: the real one's last digits depend on the batch."""
    scores = (pixels[:, :25, :40, 0] / 64).reshape(len(pixels), 1000)
    likelihoods = np.exp(scores).astype(np.float32)
    return np.array([row / row.sum() for row in likelihoods]), None


def encoded(image: Image.Image, image_format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def test_a_cat_is_called_a_cat(demonstration: Served) -> None:
    ((status, answer),) = demonstration.ask(raw())
    assert status == 200
    best = answer["predictions"][0]
    assert (best["class_id"], best["wnid"], best["label"]) == (285, "n02124075", "Egyptian cat")
    assert len(answer["predictions"]) == 5


def test_an_answer_has_the_shape_of_the_contract(resnet18: Served) -> None:
    ((status, answer),) = resnet18.ask(raw(X_Top_K="1000"))
    assert status == 200
    assert answer.keys() == {"model", "predictions"}
    assert answer["model"] == "resnet18"
    predictions = answer["predictions"]
    assert all(list(prediction) == ["class_id", "wnid", "label", "probability"] for prediction in predictions)
    probabilities = [prediction["probability"] for prediction in predictions]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_bad_requests_leave_their_batch_mates_untouched(resnet18: Served) -> None:
    with Image.open(CAT) as cat:
        good = [encoded(cat.rotate(angle), "PNG") for angle in range(0, 250, 50)]
    alone = [resnet18.ask(raw(picture))[0] for picture in good]
    batch = [
        raw(good[0]),
        raw(TRUNCATED),
        raw(good[1]),
        raw(b""),
        raw(good[2]),
        raw("a text file"),
        raw(good[3]),
        raw(good[4]),
    ]
    answers = resnet18.ask(*batch)
    assert [status for status, _ in answers] == [200, 400, 200, 400, 200, 415, 200, 200]
    assert [kind["type"] for status, kind in answers if status != 200] == [
        "InvalidImage",
        "InvalidImage",
        "UnsupportedImage",
    ]
    together = [answer for answer in answers if answer[0] == 200]
    for (_, one), (_, other) in zip(alone, together, strict=True):
        for expected, found in zip(one["predictions"], other["predictions"], strict=True):
            assert found == expected | {"probability": pytest.approx(expected["probability"], abs=1e-6)}


@pytest.mark.parametrize(
    ("request_", "status", "kind"),
    [
        (raw(b""), 400, "InvalidImage"),
        (raw(TRUNCATED), 400, "InvalidImage"),
        (raw("hello"), 415, "UnsupportedImage"),
        (raw(b"%PDF-1.7"), 415, "UnsupportedImage"),
        (raw(b"\xff\xd8" + b"x" * 16_000_000), 413, "ImageTooLarge"),
        (raw(X_TOP_K="0"), 400, "InvalidParameter"),
        (raw({"picture": ""}, Content_Type="application/json"), 400, "InvalidRequest"),
        (({}, {"Content-Type": "multipart/form-data; boundary=x"}), 400, "InvalidRequest"),
    ],
)
def test_errors_have_their_status_and_the_one_shape(
    resnet18: Served, request_: tuple[dict[str, Any], dict[str, str]], status: int, kind: str
) -> None:
    ((found, answer),) = resnet18.ask(request_)
    assert found == status
    assert answer == {"code": status, "type": kind, "message": answer["message"]}
    assert answer["message"].endswith(".")


@pytest.mark.needs("heif")
def test_a_heic_picture_is_answered_in_a_batch(resnet18: Served) -> None:
    good, mate, bad = resnet18.ask(raw(heic([picture()])), raw(), raw(heic([picture()])[:-20]))
    assert [good[0], mate[0], bad[0]] == [200, 200, 400]
    assert good[1]["predictions"] != mate[1]["predictions"]


def test_without_its_decoder_a_heic_picture_is_refused_with_what_to_install(
    resnet18: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heif, "DECODERS", {})
    heif.load_decoder.cache_clear()
    (status, answer), (mate, _) = resnet18.ask(raw(heic([picture()])), raw())
    heif.load_decoder.cache_clear()
    assert (status, answer["type"], mate) == (415, "UnsupportedImage", 200)
    assert 'pip install "marserve[heif]"' in answer["message"]


def test_each_request_has_its_own_top_k_in_any_spelling_of_the_header(resnet18: Served) -> None:
    answers = resnet18.ask(raw(X_Top_K="1"), raw(x_top_k="7"), raw(), ({"f": JPEG, "top_k": b"3"}, {}))
    assert [len(answer["predictions"]) for _, answer in answers] == [1, 7, 5, 3]


@pytest.mark.parametrize(
    "headers",
    [
        {"describe": "True"},
        {"Describe": "True"},
        {"explain": "yes"},
        {"body": "x", "content-type": "image/jpeg", "ts_stream_next": "true"},
    ],
)
def test_hostile_headers_do_nothing(resnet18: Served, headers: dict[str, str]) -> None:
    plain, hostile, mate = resnet18.ask(raw(), ({"body": JPEG}, headers), raw())
    assert plain == hostile == mate


def test_a_form_without_parts_cannot_ask_for_the_description(resnet18: Served) -> None:
    headers = {"describe": "True", "Content-Type": "multipart/form-data; boundary=x"}
    assert resnet18.ask(({}, headers))[0][0] == 400


def test_the_management_api_gets_the_description_even_within_a_batch(resnet18: Served) -> None:
    described, predicted = resnet18.ask(({}, {"describe": "True"}), raw())
    assert predicted[0] == 200
    status, answer = described
    assert status == 200
    assert answer["architecture"] == "resnet18"
    assert answer["class_count"] == 1000
    assert answer["weights"]["trained"] is False
    assert answer["running"] == {
        "engine": "openvino",
        "device": answer["running"]["device"],
        "precision": "f32",
        "threads": answer["running"]["threads"],
        "threads_when_alone": answer["running"]["threads_when_alone"],
        "picture_formats": readable_formats(),
        "reads_groups": True,
    }


def test_instances_are_answered_one_by_one(resnet18: Served) -> None:
    good = {"b64": base64.b64encode(JPEG).decode()}
    bad = {"b64": base64.b64encode(TRUNCATED).decode()}
    body = {"instances": [good, bad, {"b64": 7}] + [good] * 8}
    (status, answers), (_, alone) = resnet18.ask(raw(body), raw())
    assert status == 200
    assert [answer.get("code", 200) for answer in answers] == [200, 400, 400] + [200] * 8
    assert answers[-1]["predictions"][0]["class_id"] == alone["predictions"][0]["class_id"]


def test_instances_of_which_none_can_be_read_have_an_errors_status(resnet18: Served) -> None:
    ((status, answers),) = resnet18.ask(raw({"instances": [{"b64": ""}, {"b64": "aGVsbG8="}]}))
    assert status == 400
    assert [answer["code"] for answer in answers] == [400, 415]


def test_pictures_of_a_group_are_answered_as_each_alone_to_the_byte(
    resnet18: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resnet18.handler._engine, "infer", infer_alike)
    with Image.open(CAT) as cat:
        turned = [encoded(cat.rotate(angle), "PNG") for angle in (90, 180)]
    # 40 megapixels are within the limits, and 60 are not.
    large, too_large = (encoded(Image.new("L", (10_000, height), 90), "PNG") for height in (4000, 6000))
    pictures = [
        *((5, JPEG), (5, TRUNCATED), (1, turned[0]), (0, JPEG), (5, large), (5, b""), (1000, turned[1])),
        *((5, too_large), (1001, JPEG), (7, b"a text file"), (5, b"\xff\xd8" + bytes(16_000_000)), (3, JPEG)),
    ]
    alone = [
        resnet18.ask_raw(raw(bytearray(picture), X_Top_K=str(top_k), Content_Type=BARE_PICTURE))[0]
        for top_k, picture in pictures
    ]
    (status, kind, body), mate, (other_status, _, other_body) = resnet18.ask_raw(
        group(*pictures), raw(turned[0], X_Top_K="1"), group((5, JPEG), (5, TRUNCATED))
    )
    assert (status, kind, other_status) == (200, ANSWERS, 200)
    seconds, answers = decode_answers(body)
    assert 0 < seconds < 60
    assert [status for status, _ in answers] == [200, 400, 200, 400, 200, 400, 200, 413, 400, 415, 413, 200]
    assert answers == [(status, body) for status, _, body in alone]
    assert mate == alone[2]
    assert decode_answers(other_body)[1] == answers[:2]


def test_every_answer_says_what_its_batch_took(resnet18: Served) -> None:
    resnet18.ask_raw(raw(), group((5, JPEG), (5, TRUNCATED)), raw(TRUNCATED))
    (timing,) = {resnet18.context.get_response_headers(index)["Server-Timing"] for index in range(3)}
    spent = {name: float(ms) for name, ms in (part.split(";dur=") for part in timing.split(", "))}
    assert list(spent) == ["decode", "inference", "worker"]
    assert all(ms > 0 for ms in spent.values())
    assert spent["decode"] + spent["inference"] <= spent["worker"] + 0.002  # each is rounded


def test_a_group_that_cannot_be_read_is_refused_as_a_whole_and_leaves_its_batch_mates_untouched(
    resnet18: Served,
) -> None:
    fields, headers = group((5, JPEG))
    cut, too_many, explained, good = resnet18.ask_raw(
        ({"body": fields["body"][:-1]}, headers),
        group(*[(5, b"x")] * 33),
        group((5, JPEG), explain="True"),
        group((5, JPEG)),
    )
    for status, kind, body in (cut, too_many, explained):
        assert (status, kind, json.loads(body)["type"]) == (400, "application/json", "InvalidRequest")
    assert good[:2] == (200, ANSWERS)


class Body(bytearray):
    """That can be watched."""


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        pytest.param(TRUNCATED, BARE_PICTURE, id="a picture that ends early"),
        pytest.param(b"text", "", id="no picture"),
        pytest.param(b"--xyz\r\nContent-Disposition: form-data\r\n\r\n", "text/plain", id="a form by another name"),
        pytest.param(b"".join(encode_group([(5, TRUNCATED), (0, JPEG)])), GROUP, id="a group"),
        pytest.param(b'{"instances": [{"b64": "!"}, 1]}', "application/vnd.x+json", id="instances"),
    ],
)
def test_what_was_refused_is_not_kept(resnet18: Served, fields: bytes, headers: str) -> None:
    """An error that is kept as an answer holds the frames that it came through, and they the error: a cycle."""
    gc.collect()
    gc.disable()
    try:
        body = Body(fields)
        refused = weakref.ref(body)
        ((_, _, answer),) = resnet18.ask_raw(({"body": body}, {"content-type": headers}))
        assert answer
        del body
        resnet18.ask(({"body": bytearray(JPEG)}, {}))
        assert refused() is None
    finally:
        gc.enable()


def test_an_explanation_adds_the_map_of_the_top_class(demonstration: Served) -> None:
    (_, plain), (status, explained), (_, mate) = demonstration.ask(raw(), raw(explain="True"), raw())
    assert status == 200
    explanation = explained.pop("explanation")
    assert explained == plain == mate
    assert explanation["class_id"] == plain["predictions"][0]["class_id"]
    activation = np.array(explanation["map"])
    assert activation.shape == (7, 7)
    assert activation.min() >= 0
    assert activation.max() == 1
    # The picture is 451 x 300: the crop is the middle 224/256 of the height, and as wide as it is high.
    crop = explanation["crop"]
    assert crop["bottom"] - crop["top"] == pytest.approx(224 / 256)
    assert (crop["right"] - crop["left"]) * 451 == pytest.approx(300 * 224 / 256, rel=0.01)


def test_each_request_has_its_class_explained(demonstration: Served) -> None:
    (_, first), (_, second), (status, error) = demonstration.ask(
        raw(explain="True"), raw(explain="True", x_class_id="282"), raw(explain="True", x_class_id="1000")
    )
    assert first["explanation"]["class_id"] == first["predictions"][0]["class_id"] != 282
    assert second["explanation"]["class_id"] == 282
    assert second["explanation"]["map"] != first["explanation"]["map"]
    assert (status, error["type"], error["message"]) == (400, "InvalidParameter", "class_id must be 0 to 999.")


def test_explanations_survive_the_batches_that_follow(demonstration: Served) -> None:
    """Nine pictures are two batches of the engine, whose memory the second one overwrites."""
    with Image.open(CAT) as cat:
        flipped = encoded(cat.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG")
    alone = demonstration.ask(raw(explain="True"))[0][1]
    answers = demonstration.ask(raw(explain="True"), *[raw(flipped, explain="True")] * 8)
    found = np.array(answers[0][1]["explanation"]["map"])
    assert found == pytest.approx(np.array(alone["explanation"]["map"]), abs=1e-3)


def test_requests_are_logged_without_what_they_sent(resnet18: Served, caplog: pytest.LogCaptureFixture) -> None:
    resnet18.ask(raw("[METRICS]forged.Count:1"), raw(X_Top_K="[METRICS]forged"))
    assert [record.message for record in caplog.records] == [
        "Refused request-0: 415 UnsupportedImage",
        "Refused request-1: 400 InvalidParameter",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "onnx"}, r"handler\.engine = 'onnx'"),
        ({"topk": 3}, r"handler\.topk is no setting"),
        ({"max_image_pixels": 0}, r"handler\.max_image_pixels = 0"),
    ],
)
def test_a_wrong_setting_stops_start_up(resnet18_directory: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Served(resnet18_directory, **settings)


def test_limits_come_from_the_settings(resnet18_directory: Path) -> None:
    served = Served(resnet18_directory, max_image_bytes=len(JPEG), max_image_pixels=451 * 300 - 1)
    assert [status for status, _ in served.ask(raw(), raw(JPEG + b" "))] == [413, 413]


@pytest.mark.parametrize(("is_alone", "threads"), [(False, 2), (True, 8)])
def test_pictures_are_decoded_on_a_workers_share_of_the_cores_and_on_all_while_it_is_alone(
    resnet18_directory: Path, monkeypatch: pytest.MonkeyPatch, is_alone: bool, threads: int
) -> None:
    monkeypatch.setattr(factory, "usable_cores", lambda: 16)
    monkeypatch.setenv(THREADS_VARIABLE, "2")
    served = Served(resnet18_directory, precision="f32")
    monkeypatch.setattr(served.handler._occupancy, "alone", lambda: is_alone)
    decode, used, begin = served.handler._decode, set[Thread](), Barrier(threads)

    def decode_together(picture: bytes) -> object:
        if current_thread() not in used:
            used.add(current_thread())
            begin.wait(10)  # until as many threads as are expected have a picture
        return decode(picture)

    monkeypatch.setattr(served.handler, "_decode", decode_together)
    assert [status for status, _ in served.ask(*[raw()] * 8)] == [200] * 8
    assert len(used) == threads


def test_several_threads_keep_answers_in_order(resnet18_directory: Path) -> None:
    served = Served(resnet18_directory, precision="f32", threads=2)
    answers = served.ask(raw(), raw(b""), raw(), raw("text"), raw())
    assert [status for status, _ in answers] == [200, 400, 200, 415, 200]


def test_the_limits_of_the_server_come_before_those_of_the_archive(
    resnet18_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARSERVE_MAX_IMAGE_BYTES", str(len(JPEG)))
    monkeypatch.setenv("MARSERVE_MAX_IMAGE_PIXELS", str(451 * 300))
    served = Served(resnet18_directory, max_image_bytes=100, max_image_pixels=100)
    assert [status for status, _ in served.ask(raw(), raw(JPEG + b"x"))] == [200, 413]
    monkeypatch.setenv("MARSERVE_MAX_IMAGE_PIXELS", "50M")
    with pytest.raises(ConfigurationError, match="MARSERVE_MAX_IMAGE_PIXELS = '50M' must be a whole number"):
        Served(resnet18_directory)


class Counted:
    """TorchServe's metrics, of which the sums are kept, and the errors."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.sums: Counter[str] = Counter()
        self._name = ""

    def get_metric(self, name: str, _: object) -> Any:
        metric = copy(self)  # which shares the list
        metric._name = name
        return metric

    def add_or_update(self, value: float, dimensions: list[str]) -> None:
        self.sums[self._name] += int(value)
        if self._name == "handler_errors_total":
            self.kinds += [dimensions[0]] * int(value)


def test_errors_of_a_batch_that_fails_are_not_reported_with_the_next(
    resnet18_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = Counted()
    served = Served(resnet18_directory, metrics=errors, precision="f32")
    served.ask(raw(TRUNCATED))
    served.handler._metrics.report()
    assert errors.kinds == ["InvalidImage"]
    with monkeypatch.context() as patch:
        # Not-a-number is no JSON.
        patch.setattr(served.handler._engine, "infer", lambda pixels: (np.full((len(pixels), 1000), np.nan), None))
        with pytest.raises(ValueError, match="not JSON compliant"):
            served.ask(raw(b"a text file"), raw())
    served.ask(raw())
    served.handler._metrics.report()
    assert errors.kinds == ["InvalidImage"]


def test_a_group_counts_as_one_request_of_several_pictures(resnet18_directory: Path) -> None:
    """As TorchServe counts it, so that its sums and the handler's may be divided by each other."""
    counted = Counted()
    served = Served(resnet18_directory, metrics=counted, precision="f32")
    served.ask_raw(group((5, JPEG), (5, TRUNCATED), (0, JPEG)), raw())
    served.handler._metrics.report()
    assert counted.sums["handler_requests_total"] == 2
    assert counted.sums["handler_pictures_total"] == 3
    assert counted.sums["handler_picture_bytes_total"] == 2 * len(JPEG) + len(TRUNCATED)
    assert counted.kinds == ["InvalidImage", "InvalidParameter"]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_an_explained_picture_is_read_once(
    demonstration: Served, monkeypatch: pytest.MonkeyPatch, image_format: str
) -> None:
    with Image.open(CAT) as cat:
        picture = encoded(cat, image_format)
    opened = []
    open_image = Image.open

    def count(*arguments: Any, **options: Any) -> Any:
        opened.append(arguments)
        return open_image(*arguments, **options)

    monkeypatch.setattr(Image, "open", count)
    ((status, answer),) = demonstration.ask(raw(picture, explain="True"))
    assert (status, "explanation" in answer, len(opened)) == (200, True, 1)
