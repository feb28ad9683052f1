"""/predict, /classify and /explain: what goes in, what comes out."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from tests.unit.web.fake_torchserve import DEMONSTRATION, TRAINED, UNTRAINED, FakeTorchServe, predictions_for
from tests.unit.web.service import Service, StartService, form

pytestmark = pytest.mark.anyio

PICTURE = b"\xff\xd8\xff a picture \x00\r\n--boundary\r\n" * 100


def two_files() -> aiohttp.FormData:
    data = form(PICTURE)
    data.add_field("other", PICTURE, filename="dog.jpg")
    return data


def file_and_field() -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field("comment", "a cat")
    data.add_field("image", PICTURE, filename="cat.jpg")
    return data


def lone_field() -> bytes:
    """What aiohttp's forms cannot say: a field of bytes without a file name."""
    return b'--edge\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + PICTURE + b"\r\n--edge--\r\n"


def text_fields() -> aiohttp.FormData:
    data = aiohttp.FormData(default_to_multipart=True)
    data.add_field("a", "1")
    data.add_field("b", "2")
    return data


async def chunked(picture: bytes) -> Any:
    for start in range(0, len(picture), 1000):
        yield picture[start : start + 1000]


@pytest.mark.parametrize(
    ("make_body", "content_type"),
    [
        pytest.param(lambda: form(PICTURE), None, id="multipart file"),
        pytest.param(lambda: form(PICTURE, name="anything"), None, id="multipart file of another name"),
        pytest.param(file_and_field, None, id="file beside a text field"),
        pytest.param(lone_field, "multipart/form-data; boundary=edge", id="field without a file name"),
        pytest.param(lambda: PICTURE, "image/jpeg", id="raw"),
        pytest.param(lambda: PICTURE, "text/plain", id="raw of the wrong type"),
        pytest.param(lambda: chunked(PICTURE), "application/octet-stream", id="chunked"),
        pytest.param(lambda: form(PICTURE * 500), None, id="multipart of many chunks"),
    ],
)
async def test_every_form_of_a_picture_arrives_unchanged(
    service: Service, torchserve: FakeTorchServe, make_body: Any, content_type: str | None
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    reply = await service.post("/predict", make_body(), headers=headers)
    assert reply.status == 200, reply.body
    sent = torchserve.pictures[-1]
    assert sent in {PICTURE, PICTURE * 500}
    assert reply.json == [
        {"label": prediction["label"], "confidence": round(float(str(prediction["probability"])) * 100, 2)}
        for prediction in predictions_for(sent, 3)
    ]


@pytest.mark.parametrize(
    ("make_body", "content_type", "status", "kind"),
    [
        pytest.param(lambda: None, None, 400, "InvalidRequest", id="nothing"),
        pytest.param(lambda: b"", "image/jpeg", 400, "InvalidRequest", id="empty body"),
        pytest.param(text_fields, None, 400, "InvalidRequest", id="form without a file"),
        pytest.param(two_files, None, 400, "InvalidRequest", id="two files"),
        pytest.param(lambda: form(b"", filename=""), None, 400, "InvalidRequest", id="nothing chosen"),
        pytest.param(lambda: form(b""), None, 400, "InvalidImage", id="empty file"),
        pytest.param(lambda: b"file=abc", "application/x-www-form-urlencoded", 400, "InvalidRequest", id="urlencoded"),
        pytest.param(lambda: PICTURE, "multipart/form-data", 400, "InvalidRequest", id="no boundary"),
        pytest.param(lambda: PICTURE, "multipart/form-data; boundary=x", 400, "InvalidRequest", id="not multipart"),
        pytest.param(
            lambda: b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nabc',
            "multipart/form-data; boundary=x",
            400,
            "InvalidRequest",
            id="cut off",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/classify", "/explain"])
async def test_what_is_no_picture_is_refused_before_torchserve(
    service: Service, torchserve: FakeTorchServe, path: str, make_body: Any, content_type: str, status: int, kind: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    reply = await service.post(path, make_body(), headers=headers)
    assert (reply.status, reply.json["type"]) == (status, kind)
    assert torchserve.pictures == []


async def test_compressed_body_is_refused(service: Service) -> None:
    reply = await service.post("/predict", b"x", headers={"Content-Encoding": "gzip"})
    assert (reply.status, reply.json["type"]) == (415, "UnsupportedEncoding")


async def test_classify_tells_everything(service: Service) -> None:
    reply = await service.post("/classify?top_k=2", form(PICTURE))
    time_ms = reply.json.pop("time_ms")
    assert time_ms > 0
    assert reply.json == {
        "model": "resnet18",
        "version": "1.0",
        "weights": "trained",
        "predictions": predictions_for(PICTURE, 2),
        "cache": "miss",
    }
    names = ("X-Model", "X-Model-Version", "X-Weights", "X-Cache")
    assert [reply.headers[name] for name in names] == ["resnet18", "1.0", "trained", "miss"]


@pytest.mark.parametrize(("query", "expected"), [("", 3), ("?top_k=1", 1), ("?top_k=10", 10), ("?top_k=1000", 10)])
async def test_top_k_sets_the_number_of_predictions(service: Service, query: str, expected: int) -> None:
    assert len((await service.post(f"/predict{query}", PICTURE)).json) == expected


@pytest.mark.parametrize(
    "query", ["top_k=0", "top_k=1001", "top_k=x", "top_k=", "top_k=1.5", "format=gif", "class_id=-1", "class_id=x"]
)
async def test_impossible_parameter_is_named(service: Service, query: str) -> None:
    reply = await service.post(f"/explain?{query}", PICTURE)
    assert (reply.status, reply.json["type"]) == (400, "InvalidParameter")
    assert reply.json["message"].startswith(query.partition("=")[0])


async def test_explanation_comes_with_the_answer(service: Service, torchserve: FakeTorchServe) -> None:
    reply = await service.post("/explain", form(PICTURE))
    assert reply.json["explanation"]["crop"] == {"left": 0.125, "top": 0.0, "right": 0.875, "bottom": 1.0}
    assert len(reply.json["explanation"]["map"]) == 7
    assert torchserve.paths == ["/explanations/resnet18/1.0"]
    assert "X-Class-ID" not in torchserve.headers[0]


async def test_another_class_than_the_first_can_be_explained(service: Service, torchserve: FakeTorchServe) -> None:
    reply = await service.post("/explain?class_id=7", PICTURE)
    assert reply.json["explanation"]["class_id"] == 7
    assert torchserve.headers[0]["X-Class-ID"] == "7"


async def test_archive_that_explains_its_first_class_only_is_not_taken_at_its_word(
    service: Service, torchserve: FakeTorchServe
) -> None:
    async def explain_first(request: web.Request, picture: bytes) -> web.StreamResponse:
        reply = await torchserve.answer(request, picture)
        assert isinstance(reply, web.Response)
        reply.text = (reply.text or "").replace('"class_id": 7, "map"', '"class_id": 1, "map"')
        return reply

    torchserve.behaviour = explain_first
    reply = await service.post("/explain?class_id=7", PICTURE)
    assert (reply.status, reply.json["type"]) == (501, "NotExplainable")
    assert (await service.post("/explain?class_id=1", PICTURE)).status == 200


async def test_explanation_as_png_is_a_transparent_to_opaque_heat_map(service: Service) -> None:
    reply = await service.post("/explain?format=png", form(PICTURE))
    assert reply.headers["Content-Type"] == "image/png"
    assert reply.headers["X-Explanation-Crop"] == "bottom=1,left=0.125,right=0.875,top=0"
    with Image.open(io.BytesIO(reply.body)) as drawn:
        assert (drawn.format, drawn.size, drawn.mode) == ("PNG", (224, 224), "RGBA")
        # Blue and transparent where the map is 0, red and opaque where it is 1.
        assert (drawn.getpixel((0, 0)), drawn.getpixel((223, 223))) == ((40, 60, 220, 0), (230, 40, 30, 200))


@pytest.mark.parametrize(
    ("resnet", "expected", "weights"),
    [(UNTRAINED, "demo", "demonstration"), ({**UNTRAINED, "weights": {"trained": True}}, "resnet18", "trained")],
)
async def test_demonstration_model_is_the_default_only_beside_an_untrained_one(
    start_service: StartService, torchserve: FakeTorchServe, resnet: dict[str, object], expected: str, weights: str
) -> None:
    torchserve.archives = {("demo", "1.0"): DEMONSTRATION, ("resnet18", "1.0"): resnet}
    torchserve.default_versions = {"demo": "1.0", "resnet18": "1.0"}
    service = await start_service()
    reply = await service.post("/classify", PICTURE)
    assert (reply.json["model"], reply.json["weights"]) == (expected, weights)
    assert (await service.get("/models")).json["default"] == expected
    named = await service.post("/classify?model=resnet18", PICTURE)
    assert named.headers["X-Model"] == "resnet18"


async def test_unknown_model_is_answered_with_those_there_are(service: Service) -> None:
    reply = await service.post("/predict?model=nope", PICTURE)
    assert (reply.status, reply.json["type"]) == (404, "UnknownModel")
    assert "resnet18 1.0" in reply.json["message"]


async def test_models_lists_versions_and_limits(start_service: StartService, torchserve: FakeTorchServe) -> None:
    torchserve.archives["resnet18", "2.0"] = torchserve.archives["resnet18", "1.0"]
    torchserve.default_versions["resnet18"] = "2.0"
    service = await start_service(max_image_bytes=1234)
    assert (await service.get("/models")).json == {
        "name": "Marserve",
        "default": "resnet18",
        "models": [
            {
                "name": "resnet18",
                "version": "2.0",
                "versions": ["1.0", "2.0"],
                "architecture": "resnet18",
                "class_count": 10,
                "picture_formats": ["JPEG", "HEIC"],
                "preprocessing": {"resize_size": 256, "crop_size": 224, "interpolation": "bilinear"},
                "weights": "trained",
                "precision": "bf16",
                "ready": True,
            }
        ],
        "limits": {"max_image_bytes": 1234, "max_image_pixels": 50_000_000},
        "feedback": False,
        "fetches_urls": False,
    }


@pytest.mark.parametrize(
    ("path", "query", "says"),
    [
        ("/predict", "topk=5", "topk is not a parameter here; did you mean top_k? There are: lang, model, top_k, url."),
        (
            "/classify",
            "top-k=5",
            "top-k is not a parameter here; did you mean top_k? There are: lang, model, top_k, url.",
        ),
        ("/predict", "TOP_K=5&model=resnet18", "TOP_K is not a parameter here; did you mean top_k? There are: "),
        ("/explain", "fromat=png", "did you mean format? There are: class_id, format, lang, model, top_k, url."),
        ("/predict", "format=png", "format is not a parameter here. There are: lang, model, top_k, url."),
        ("/predict", "api_key=secret", "api_key is not a parameter here. There are: lang, model, top_k, url."),
        ("/predict", "=5", " is not a parameter here. There are: "),
        ("/predict", "x" * 500, "x" * 40 + " is not a parameter here"),
        ("/predict", "top_k=1&top_k=5", "top_k is given 2 times: give it once."),
        ("/models", "name=resnet18", "name is not a parameter here. There are none."),
        ("/models/resnet18/classes", "top_k=5", "top_k is not a parameter here. There are none."),
        ("/feedback", "classid=5", "classid is not a parameter here; did you mean class_id? There are: class_id, "),
    ],
)
async def test_unknown_parameter_is_refused_by_name(
    service: Service, torchserve: FakeTorchServe, path: str, query: str, says: str
) -> None:
    reply = await service.ask("GET" if path.startswith("/models") else "POST", f"{path}?{query}", data=PICTURE)
    assert (reply.status, reply.json["type"]) == (400, "InvalidParameter")
    assert says in reply.json["message"]
    assert "secret" not in reply.json["message"]
    assert torchserve.pictures == []


@pytest.mark.parametrize(
    "path",
    ["/", "/static/main.js", "/example.jpg", "/docs", "/openapi.json", "/metrics", "/healthz", "/v2/health/ready"],
)
async def test_unknown_parameter_gets_around_caches_elsewhere(service: Service, path: str) -> None:
    assert (await service.get(f"{path}?v=2")).status == 200


async def test_random_labels_are_called_untrained_in_every_answer(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    torchserve.archives = {("resnet18", "1.0"): UNTRAINED}
    service = await start_service()
    reply = await service.post("/predict?top_k=2", PICTURE)
    assert [entry["weights"] for entry in reply.json] == ["untrained", "untrained"]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]}
    inferred = await service.post("/v2/models/resnet18/infer", json.dumps({"inputs": [tensor]}).encode())
    assert inferred.json["parameters"] == {"weights": "untrained"}


@pytest.mark.parametrize("description", [TRAINED, DEMONSTRATION])
async def test_answer_of_a_trained_model_says_nothing_of_weights(
    start_service: StartService, torchserve: FakeTorchServe, description: dict[str, object]
) -> None:
    torchserve.archives = {("resnet18", "1.0"): description}
    service = await start_service()
    label = predictions_for(PICTURE, 1)[0]["label"]
    assert (await service.post("/predict?top_k=1", PICTURE)).body == (
        f'[{{"label":"{label}","confidence":50.0}}]'.encode()
    )
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]}
    inferred = await service.post("/v2/models/resnet18/infer", json.dumps({"inputs": [tensor]}).encode())
    assert "parameters" not in inferred.json


async def test_chinese_names_are_for_who_wants_them(service: Service, torchserve: FakeTorchServe) -> None:
    """English is the contract, whatever a browser prefers; a label of one's own has no Chinese name here."""

    async def answer(*_: Any) -> web.Response:
        await asyncio.sleep(0.1)  # so that identical pictures wait for one answer
        cat = {"class_id": 281, "wnid": "n02123045", "label": "tabby", "probability": 0.75}
        own = {"class_id": 1, "wnid": None, "label": "our cat", "probability": 0.25}
        crop = {"left": 0.0, "top": 0.0, "right": 1.0, "bottom": 1.0}
        explanation = {"class_id": 281, "map": [[0.5]], "crop": crop}
        return web.json_response({"predictions": [cat, own], "explanation": explanation})

    torchserve.behaviour = answer
    chinese = {"Accept-Language": "zh-CN"}
    for path in ("/predict", "/classify", "/explain"):
        for _ in range(2):  # from the model, then from the cache
            replies = await asyncio.gather(
                *[
                    service.post(path + query, PICTURE, headers=headers)
                    for query, headers in [("?lang=zh", {}), ("", chinese), ("?lang=en", chinese)]
                ]
            )
            answers = [reply.json if path == "/predict" else reply.json["predictions"] for reply in replies]
            assert [[entry["label"] for entry in answer] for answer in answers] == [
                ["虎斑猫", "our cat"],
                ["tabby", "our cat"],
                ["tabby", "our cat"],
            ]
            if path != "/predict":
                assert {answer[0]["wnid"] for answer in answers} == {"n02123045"}
    assert len(torchserve.pictures) == 3  # one for each address: the language is not a part of what is cached
    assert (await service.post("/predict?lang=fr", PICTURE)).json["type"] == "InvalidParameter"
