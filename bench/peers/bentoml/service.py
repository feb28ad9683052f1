"""A service class with one API (BentoML: "Services", "Adaptive batching")."""

import os
from pathlib import Path

import bentoml
from model import load_model

WORKERS = int(os.environ.get("WORKERS", "1"))
# Declared, not handed out: its workers share the one that they see ("Work with GPUs").
GPU = {"resources": {"gpu": 1}} if os.environ["DEVICE"] == "cuda" else {}


@bentoml.service(workers=WORKERS, **GPU)
class ImageClassifier:
    def __init__(self) -> None:
        self.model = load_model()

    @bentoml.api
    def predict(self, image: Path) -> list[dict]:
        return self.model.predict([image.read_bytes()])[0]


@bentoml.service(workers=WORKERS, **GPU)
class BatchedImageClassifier:
    def __init__(self) -> None:
        self.model = load_model()

    @bentoml.api(batchable=True, max_batch_size=8, max_latency_ms=10_000)
    def predict(self, image: list[Path]) -> list[list[dict]]:  # the form field's name is that of the other service
        return self.model.predict([one.read_bytes() for one in image])
