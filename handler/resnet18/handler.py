"""The handler: an adapter from TorchServe's batches to the plain modules beside it.

It does not derive from TorchServe's BaseHandler, which imports every installed backend at start-up, lets a header of
the first request divert a whole batch, and answers an unreadable picture with 503 for all.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import deferred_torch, receiving
from .answers import AnswerWriter, ClassActivationMaps
from .cpu import map_in_threads
from .description import Description
from .engines.base import FeatureMap, Pixels
from .engines.factory import create_engine
from .errors import InvalidParameter, NotExplainable, RequestError
from .formats import readable_formats
from .gpu import gpu_of_worker
from .groups import ANSWERS, GROUP, Buffer, encode_answers
from .heap import Heap
from .images import DecodedImage, ImageDecoder, ImageLimits
from .labels import LABELS_FILE, check_label_count, read_labels
from .metrics import BatchMetrics
from .occupancy import Occupancy
from .requests import PictureRequest, media_type_of, parse_group, parse_request
from .resizing import CropRegion
from .settings import parse_model_config, with_server_limits

if TYPE_CHECKING:
    from ts.context import Context

logger = logging.getLogger(__name__)

#: Free memory is given back where a worker has taken so much more than it uses, and how often that is looked at. Four
#: pictures of 50 megapixels leave 2 GB otherwise.
MANY_BYTES, LOOK_S = 16 << 20, 1.0

#: None: TorchServe's management API wants a description of this model. An error: the request could not be understood.
Item = PictureRequest | RequestError | None
#: One of TorchServe's requests; a list is a group, each of whose pictures is answered as a request by itself would be.
Job = Item | list[PictureRequest | RequestError]


class PictureOutcome(NamedTuple):
    #: (classes,)
    probabilities: NDArray[np.float32]
    #: The last one, (channels, h, w), where it is needed to explain.
    feature_map: FeatureMap | None
    crop: CropRegion


Outcome = PictureOutcome | RequestError


class Answer(NamedTuple):
    #: JSON.
    body: bytes
    #: What decides its status, if it is an error as a whole.
    refusal: RequestError | None
    #: All that are in it.
    errors: list[RequestError]


class ClassificationHandler:
    """Parse, decode, infer, label, reply; each request of a batch, and each picture, succeeds or fails by itself."""

    def initialize(self, context: Context) -> None:
        """Load what the archive holds. A ConfigurationError stops the worker, with its message in the log."""
        deferred_torch.withdraw()
        receiving.install()
        _quieten_worker_log()
        directory = Path(context.system_properties["model_dir"])
        config = parse_model_config(context.model_yaml_config)
        self._settings = with_server_limits(config.handler, os.environ)
        self._batch_size = config.batchSize
        self._description = Description.read(directory)
        labels = read_labels(directory / LABELS_FILE)
        check_label_count(labels, self._description.class_count, directory / LABELS_FILE)
        self._writer = AnswerWriter(self._description.model, labels)
        self._decoder = ImageDecoder(
            self._description.preprocessing,
            ImageLimits(self._settings.max_image_bytes, self._settings.max_image_pixels),
            self._settings.preprocessing,
        )
        # What all workers of a server have in common: TorchServe unpacks archives side by side.
        self._occupancy = Occupancy(directory.parent)
        gpu_id = gpu_of_worker(context.system_properties.get("gpu_id"))
        self._engine = create_engine(directory, self._description, config, gpu_id, self._occupancy)
        self._maps = ClassActivationMaps(directory, self._description.head) if self._description.head else None
        side = self._description.preprocessing.crop_size
        self._input = np.zeros((self._batch_size, side, side, 3), dtype=np.uint8)
        info = self._engine.info
        self._threads, self._threads_when_alone = info.threads, info.threads_when_alone or info.threads
        # Besides the thread that TorchServe calls, which decodes too.
        self._decoding = ThreadPoolExecutor(max(1, self._threads_when_alone - 1), thread_name_prefix="decode")
        self._metrics = BatchMetrics(context.metrics, context.model_name)
        Heap(MANY_BYTES).look_every(LOOK_S)
        logger.info("Loaded %s %s: %s", self._description.model, self._description.version, self._engine.info)
        if not self._description.weights.trained:
            logger.warning("%s is untrained: its weights are random and its answers mean nothing.", context.model_name)

    def handle(self, data: list[dict[str, Any]], context: Context) -> list[bytes]:
        """Answer one batch: one body a request, in the order of ``data``."""
        began = time.perf_counter()
        with self._occupancy.at_work():
            jobs, pictures = self.preprocess(data, context)
            decoded = time.perf_counter()
            explain = any(isinstance(job, PictureRequest) and job.explain for job in jobs)
            outcomes = self.inference(pictures, explain)
            inferred = time.perf_counter()
            bodies, errors = self.postprocess(jobs, outcomes, context, began)
        moments = began, decoded, inferred, time.perf_counter()
        timing = _server_timing(*moments)
        for index in range(len(jobs)):
            context.set_response_header(index, "Server-Timing", timing)
        # Not before the whole batch is answered: errors of one that failed would be reported with the next.
        self._metrics.add(len(jobs), _encoded(jobs), errors, moments)
        return bodies

    def preprocess(
        self, data: list[dict[str, Any]], context: Context
    ) -> tuple[list[Job], list[DecodedImage | RequestError]]:
        """Read every request, and decode all their pictures, request after request."""
        jobs = [self._parse(fields, context.get_all_request_header(index)) for index, fields in enumerate(data)]
        encoded = _encoded(jobs)
        is_alone = len(encoded) > 1 and self._occupancy.alone()
        threads = self._threads_when_alone if is_alone else self._threads
        return jobs, map_in_threads(self._decode, encoded, threads, self._decoding)

    def inference(self, pictures: list[DecodedImage | RequestError], explain: bool) -> list[Outcome]:
        """Classify ``pictures``, keeping feature maps to ``explain``; an error in a picture's place stays there."""
        pixels = [picture.pixels for picture in pictures if not isinstance(picture, RequestError)]
        answers = self._infer(pixels, explain)
        return [
            picture if isinstance(picture, RequestError) else PictureOutcome(*next(answers), picture.crop)
            for picture in pictures
        ]

    def postprocess(
        self, jobs: list[Job], outcomes: list[Outcome], context: Context, began: float
    ) -> tuple[list[bytes], list[RequestError]]:
        """Turn ``outcomes``, one a picture, into one body a request, and set each one's status.

        Answers the bodies, and every error in them. ``began`` is when the batch did, by ``time.perf_counter``.
        """
        remaining = iter(outcomes)
        bodies = []
        errors = []
        for index, job in enumerate(jobs):
            answers = [self._answer(item, remaining) for item in (job if isinstance(job, list) else [job])]
            for answer in answers:
                errors += answer.errors
                if answer.refusal is not None:
                    # The message may repeat something the caller sent: the log gets only what kind of error it was.
                    status, kind = answer.refusal.status, answer.refusal.kind
                    logger.info("Refused %s: %d %s", context.get_request_id(index), status, kind)
            if isinstance(job, list):
                context.set_response_content_type(index, ANSWERS)
                replies = ((answer.refusal.status if answer.refusal else 200, answer.body) for answer in answers)
                bodies.append(encode_answers(time.perf_counter() - began, replies))
                continue
            ((body, refusal, _),) = answers
            if refusal is not None:
                context.set_response_status(refusal.status, refusal.phrase, index)
            context.set_response_content_type(index, "application/json")
            bodies.append(body)
        return bodies, errors

    def _parse(self, fields: dict[str, Any], raw_headers: dict[str, Any]) -> Job:
        # TorchServe mixes the parts' own headers in, as dicts; and HTTP header names come in any case.
        headers = {name.lower(): value for name, value in raw_headers.items() if isinstance(value, str)}
        types = {name: kind["content-type"] for name, kind in raw_headers.items() if isinstance(kind, dict)}
        # Only the management API's request has neither a body nor a type for one: no header alone gets the description.
        if not fields and headers.get("describe") == "True" and "content-type" not in headers:
            return None
        try:
            if media_type_of(headers) == GROUP:
                return parse_group(fields, headers, max_images=self._settings.max_images_per_request)
            return parse_request(
                fields,
                headers,
                {name: media_type for name, media_type in types.items() if media_type},
                default_top_k=self._settings.default_top_k,
                max_images=self._settings.max_images_per_request,
            )
        except RequestError as error:
            return error.alone()

    def _decode(self, picture: Buffer | RequestError) -> DecodedImage | RequestError:
        if isinstance(picture, RequestError):
            return picture
        try:
            return self._decoder.decode(picture)
        except RequestError as error:
            return error.alone()

    def _infer(self, pictures: list[Pixels], explain: bool) -> Iterator[tuple[NDArray[np.float32], FeatureMap | None]]:
        for start in range(0, len(pictures), self._batch_size):
            batch = pictures[start : start + self._batch_size]
            probabilities, feature_maps = self._engine.infer(np.stack(batch, out=self._input[: len(batch)]))
            if not np.isfinite(probabilities).all():
                # Better an exception, which TorchServe answers with 503, than a broken answer.
                raise ValueError("The network's probabilities are not all numbers, so they are not JSON compliant.")
            if explain and feature_maps is not None:
                # Copied, since the next batch overwrites them.
                yield from zip(probabilities, np.array(feature_maps), strict=True)
            else:
                yield from ((row, None) for row in probabilities)

    def _answer(self, item: Item, outcomes: Iterator[Outcome]) -> Answer:
        """The next of ``outcomes`` as the answer to ``item``; of a list, one that all pictures failed is a refusal."""
        if item is None:
            running = {**asdict(self._engine.info), "picture_formats": readable_formats(), "reads_groups": True}
            return Answer(_as_json({**self._description.model_dump(), "running": running}).encode(), None, [])
        if isinstance(item, RequestError):
            return Answer(_as_json(item.as_json()).encode(), item, [item])
        answers = [self._answer_picture(next(outcomes), item) for _ in item.pictures]
        errors = [answer for answer in answers if isinstance(answer, RequestError)]
        texts = [_as_json(answer.as_json()) if isinstance(answer, RequestError) else answer for answer in answers]
        body = f"[{','.join(texts)}]" if item.is_list else texts[0]
        return Answer(body.encode(), errors[0] if len(errors) == len(answers) else None, errors)

    def _answer_picture(self, outcome: Outcome, request: PictureRequest) -> str | RequestError:
        """JSON, or why there is none."""
        if isinstance(outcome, RequestError):
            return outcome
        probabilities, feature_map, crop = outcome
        if not request.explain:
            return self._writer.write(probabilities, request.top_k)
        if self._maps is None or feature_map is None:
            return NotExplainable(f"{self._description.architecture} has no class activation maps.")
        class_id = int(probabilities.argmax()) if request.class_id is None else request.class_id
        if class_id >= len(probabilities):
            return InvalidParameter(f"class_id must be 0 to {len(probabilities) - 1}.")
        activation = self._maps.compute(feature_map, class_id)
        explanation = {
            "class_id": class_id,
            "map": [[round(float(share), 4) for share in row] for row in activation],
            "crop": asdict(crop),
        }
        return self._writer.write(probabilities, request.top_k, explanation)


def _encoded(jobs: list[Job]) -> list[Buffer | RequestError]:
    """All pictures, as they came, of all requests."""
    items = (item for job in jobs for item in (job if isinstance(job, list) else [job]))
    return [picture for item in items if isinstance(item, PictureRequest) for picture in item.pictures]


def _server_timing(began: float, decoded: float, inferred: float, answered: float) -> str:
    """What a batch took, in milliseconds, as a header for browsers and tracing (https://www.w3.org/TR/server-timing)."""
    spent = {"decode": decoded - began, "inference": inferred - decoded, "worker": answered - began}
    return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in spent.items())


def _as_json(content: dict[str, Any]) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _quieten_worker_log() -> None:
    """Let warnings, this handler's messages and TorchServe's metrics through, but not a line for every batch.

    Every line of a worker travels through a pipe to TorchServe, which parses it, metrics included.
    """
    logging.getLogger().setLevel(logging.WARNING)
    for name in ("ts.metrics", __package__):
        logging.getLogger(name).setLevel(logging.INFO)
