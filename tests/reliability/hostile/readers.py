"""What reads each kind of input: it answers, or refuses it in words. Anything else is raised and is a finding."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from marserve.archive.labels.read import read_class_names
from marserve.archive.weights.content import read_content
from marserve.archive.weights.files import WeightsFile
from marserve.archive.weights.state_dict import load_state_dict
from marserve.errors import MarserveError
from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.errors import ConfigurationError, RequestError
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from marserve.handler.resnet18.requests import PictureRequest, media_type_of, parse_group, parse_request
from marserve.manage.deployment import archive_version
from marserve.stack.archives import _read_archive, configured_threads
from marserve.stack.model_store import RECORD, DeploymentStore
from marserve.torchserve.models import ModelVersion
from marserve.variables import read_config
from marserve.web.bodies import ADDRESS, _Fields, _parse
from marserve.web.models import ArchiveDescription, KnownModel
from marserve.web.oip import encode_response, needed_top_k, parse_inference_request
from marserve.web.protection import check_pixels
from marserve.web.rollout.files import Order
from marserve.web.schemas import HandlerAnswer

CROP = 32
CLASSES = 10
MOST_PIXELS = 4_000_000
#: What a refusal must not show: where things lie in memory and on disk, and Python's own words.
PRIVATE = (" at 0x", "/site-packages/", "Traceback", "/usr/lib")


def pictures(content: bytes) -> str:
    try:
        check_pixels(content, MOST_PIXELS)
        decoded = _decoder().decode(content)
    except RequestError as error:
        return _refused(error)
    assert decoded.pixels.shape == (CROP, CROP, 3)
    assert decoded.pixels.dtype == np.uint8
    assert 0 <= decoded.crop.left < decoded.crop.right <= 1
    return "read"


@cache
def _decoder() -> ImageDecoder:
    return ImageDecoder(Preprocessing(resize_size=40, crop_size=CROP), ImageLimits(10**6, MOST_PIXELS))


def bodies(given: tuple[str, bytes]) -> str:
    """Forms, JSON, and what is taken for one of them."""
    content_type, body = given
    fields = _Fields((ADDRESS, "note"))
    try:
        found = _parse(body, content_type, content_type.partition(";")[0].strip().lower(), 5, fields)
    except RequestError as error:
        return _refused(error)
    _check_request(found)
    return "read"


def protocol(given: tuple[str | None, bytes]) -> str:
    length, body = given
    try:
        request = parse_inference_request(body, length)
        top_k = needed_top_k(request, CLASSES)
    except RequestError as error:
        return _refused(error)
    assert 1 <= top_k <= CLASSES
    answer = HandlerAnswer.model_validate_json(
        json.dumps(
            {"predictions": [{"class_id": i, "wnid": None, "label": "é", "probability": 0.1} for i in range(top_k)]}
        )
    )
    content, header = encode_response(request, [answer] * len(request.pictures), served=_served(), class_count=CLASSES)
    json.loads(content[:header])
    return "read"


@cache
def _served() -> KnownModel:
    description = ArchiveDescription.read({"weights": {"trained": False}})
    return KnownModel(ModelVersion("resnet18", "1.0", "a.mar", ()), description, is_confirmed=True)


def groups(given: tuple[dict[str, object], dict[str, str]]) -> str:
    fields, headers = given
    try:
        if media_type_of(headers) == "application/x-picture-group":
            members = parse_group(fields, headers, max_images=32)
        else:
            members = [parse_request(fields, headers, {}, default_top_k=5, max_images=32)]
    except RequestError as error:
        return _refused(error)
    for member in members:
        if isinstance(member, PictureRequest):
            _check_request(member)
    return "read"


def _check_request(request: PictureRequest) -> None:
    assert 1 <= request.top_k <= 1000
    assert request.pictures
    for one in request.pictures:
        if isinstance(one, RequestError):
            _refused(one)
        else:
            bytes(one)


def archives(content: bytes) -> str:
    path = _file(".mar", content)
    try:
        archive_version(path)
    except MarserveError as error:
        _shown(error)
    try:
        configured_threads([_read_archive(path)])
    except MarserveError as error:
        return _shown(error)
    return "read"


def weights(content: bytes) -> str:
    try:
        path = _file(".pt", content)
        read_content(path)
        load_state_dict(WeightsFile(path, "a file", None, trained=True), "resnet18")
    except ConfigurationError as error:
        return _shown(error)
    return "read"


def labels(given: tuple[str, bytes]) -> str:
    ending, content = given
    try:
        read_class_names(_file(ending, content))
    except ConfigurationError as error:
        return _shown(error)
    return "read"


def configuration(content: bytes) -> str:
    read = 0
    path = _file(".toml", content)
    try:
        read_config(path)
        read += 1
    except MarserveError as error:
        _shown(error)
    store = _store()
    (store.path / RECORD).write_bytes(content)
    try:
        read += store.read() is not None
    except MarserveError as error:
        _shown(error)
    with suppress(ValueError, OSError):  # what the web service takes for no order
        read += Order.read(path) is not None
    return "read" if read else "refused"


@cache
def _store() -> DeploymentStore:
    store = DeploymentStore.__new__(DeploymentStore)
    store.path = _folder()
    return store


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="hostile-"))


def _file(ending: str, content: bytes) -> Path:
    path = _folder() / f"input{ending}"
    path.write_bytes(content)
    return path


def _refused(error: RequestError) -> str:
    assert 400 <= error.status < 500
    content = json.dumps(error.as_json(), allow_nan=False)
    assert len(content) < 2000, "a refusal that repeats what was sent"
    assert not any(mark in content for mark in PRIVATE), content
    assert "\r" not in error.phrase + str(error)
    return "refused"


def _shown(error: Exception) -> str:
    """On a terminal, which its text must not steer."""
    text = str(error)
    assert all(letter.isprintable() or letter == "\n" for letter in text), repr(text)[:300]
    assert len(text) < 5000, "a message that repeats the file"
    return "refused"


READERS: Mapping[str, Callable[[Any], str]] = {
    "pictures": pictures,
    "forms": bodies,
    "json": bodies,
    "protocol": protocol,
    "groups": groups,
    "archives": archives,
    "weights": weights,
    "labels": labels,
    "configuration": configuration,
}
