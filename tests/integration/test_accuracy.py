"""What other precisions and preprocessings cost in labels, on 200 labelled photographs, in the handler itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ts.context import Context, RequestProcessor

from marserve.handler.resnet18.handler import ClassificationHandler
from tests.photographs import reference_classes
from tests.support import PHOTOS

BATCH = 8

pytestmark = pytest.mark.needs("photographs")


@pytest.fixture(scope="module")
def photographs() -> list[Path]:
    return sorted(PHOTOS.glob("*.JPEG"))


@pytest.fixture(scope="module")
def reference(photographs: list[Path]) -> list[int]:
    return reference_classes(photographs)


def classes(directory: Path, photographs: list[Path], **settings: str) -> list[int]:
    """The first class of each photograph by a handler on the archive in ``directory``."""
    config = yaml.safe_load((directory / "model-config.yaml").read_text())
    config["handler"].update(settings)
    context = Context("efficientnet_lite0", str(directory), {}, BATCH, None, "0.12.0", model_yaml_config=config)
    handler = ClassificationHandler()
    handler.initialize(context)
    found: list[int] = []
    for start in range(0, len(photographs), BATCH):
        batch = [{"body": path.read_bytes()} for path in photographs[start : start + BATCH]]
        context.request_processor = [RequestProcessor({"X-Top-K": "1"}) for _ in batch]
        context.request_ids = {index: f"request-{index}" for index in range(len(batch))}
        found += [json.loads(body)["predictions"][0]["class_id"] for body in handler.handle(batch, context)]
    return found


@pytest.mark.needs("bf16")
def test_bf16_changes_few_labels(demonstration_directory: Path, photographs: list[Path], reference: list[int]) -> None:
    found = classes(demonstration_directory, photographs, precision="bf16")
    assert sum(one == other for one, other in zip(found, reference, strict=True)) >= 197


@pytest.mark.parametrize("preprocessing", ["fast", "exact"])
def test_f32_gives_the_reference_labels_with_either_preprocessing(
    demonstration_directory: Path, photographs: list[Path], reference: list[int], preprocessing: str
) -> None:
    found = classes(demonstration_directory, photographs, precision="f32", preprocessing=preprocessing)
    assert sum(one == other for one, other in zip(found, reference, strict=True)) >= 199
