"""The network of an archive in this process: encoded pictures in, their classes or errors out."""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from marserve.archive.contents import ArchiveError, read_json, read_text
from marserve.errors import MarserveError
from marserve.handler.resnet18.answers import DECIMALS, top_classes
from marserve.handler.resnet18.cpu import map_in_threads
from marserve.handler.resnet18.description import DESCRIPTION_FILE, Description
from marserve.handler.resnet18.engines.factory import create_engine
from marserve.handler.resnet18.engines.openvino_engine import GRAPH_FILE
from marserve.handler.resnet18.engines.torch_engine import WEIGHTS_FILE
from marserve.handler.resnet18.errors import ConfigurationError, RequestError
from marserve.handler.resnet18.images import DecodedImage, Encoded, ImageDecoder, ImageLimits
from marserve.handler.resnet18.labels import LABELS_FILE, Label, read_labels
from marserve.handler.resnet18.occupancy import Occupancy
from marserve.handler.resnet18.settings import ModelConfig, parse_model_config, with_server_limits

#: Pictures that the network computes together on a GPU; on a processor the archive's number.
GPU_BATCH = 64


@dataclass(frozen=True)
class Prediction:
    class_id: int
    label: Label
    probability: float


@dataclass(frozen=True)
class ArchiveFile:
    """An archive as it was read by the driver, the same for every actor."""

    content: bytes
    digest: str
    description: Description
    config: ModelConfig

    @classmethod
    def read(cls, path: Path, environ: Mapping[str, str]) -> ArchiveFile:
        """With the limits for pictures that ``environ`` sets. Raises MarserveError."""
        try:
            manifest = read_json(path, "MAR-INF/MANIFEST.json")
            config = parse_model_config(yaml.safe_load(read_text(path, manifest["model"]["configFile"])))
            config = config.model_copy(update={"handler": with_server_limits(config.handler, environ)})
            description = Description.model_validate_json(read_text(path, DESCRIPTION_FILE))
            content = path.read_bytes()
        except (ArchiveError, ConfigurationError) as exc:
            raise MarserveError(f"{path} {exc}.") from exc
        except (KeyError, TypeError, ValueError, yaml.YAMLError) as exc:
            raise MarserveError(f"{path} was not built by this version of marserve ({exc}): build it again.") from exc
        return cls(content, f"sha256:{hashlib.sha256(content).hexdigest()}", description, config)


class ArchiveClassifier:
    """Decoder, network and labels of an archive. Not thread-safe."""

    def __init__(self, archive: ArchiveFile, *, threads: int, gpu_id: int | None, top_k: int) -> None:
        """``threads`` decode, and compute where there is no GPU. Raises ConfigurationError."""
        handler = archive.config.handler.model_copy(update={"threads": threads})
        batch = archive.config.batchSize if gpu_id is None else max(GPU_BATCH, archive.config.batchSize)
        config = archive.config.model_copy(update={"handler": handler, "batchSize": batch})
        self.batch_size = batch
        self.max_image_bytes = handler.max_image_bytes
        self._top_k = top_k
        with tempfile.TemporaryDirectory(prefix="marserve-bulk-") as directory:
            # The network is in memory when the engine has been made: nothing stays behind, whoever is killed later.
            wanted = {
                DESCRIPTION_FILE,
                LABELS_FILE,
                WEIGHTS_FILE,
                GRAPH_FILE,
                str(Path(GRAPH_FILE).with_suffix(".bin")),
            }
            with zipfile.ZipFile(io.BytesIO(archive.content)) as mar:
                mar.extractall(directory, wanted & set(mar.namelist()))
            self._labels = read_labels(Path(directory, LABELS_FILE))
            nobody = Occupancy(Path(directory))
            self._engine = create_engine(Path(directory), archive.description, config, gpu_id, nobody)
            nobody.close()
        self.info = self._engine.info
        limits = ImageLimits(handler.max_image_bytes, handler.max_image_pixels)
        self._decoder = ImageDecoder(archive.description.preprocessing, limits, handler.preprocessing)
        side = archive.description.preprocessing.crop_size
        self._input = np.zeros((batch, side, side, 3), dtype=np.uint8)
        self._threads = threads
        self._decoding = ThreadPoolExecutor(max(1, threads - 1), thread_name_prefix="decode")

    def classify(self, pictures: Sequence[Encoded | RequestError]) -> list[list[Prediction] | RequestError]:
        """The ``top_k`` likeliest classes of each picture, or why there are none; at most ``batch_size`` pictures."""
        decoded = map_in_threads(self._decode, pictures, self._threads, self._decoding)
        pixels = [picture.pixels for picture in decoded if not isinstance(picture, RequestError)]
        if not pixels:
            return [picture for picture in decoded if isinstance(picture, RequestError)]
        probabilities, _ = self._engine.infer(np.stack(pixels, out=self._input[: len(pixels)]))
        if not np.isfinite(probabilities).all():
            raise ValueError("The network's probabilities are not all numbers.")
        rows = iter(probabilities)
        return [picture if isinstance(picture, RequestError) else self._top(next(rows)) for picture in decoded]

    def _decode(self, picture: Encoded | RequestError) -> DecodedImage | RequestError:
        if isinstance(picture, RequestError):
            return picture
        try:
            return self._decoder.decode(picture)
        except RequestError as error:
            return error.alone()

    def _top(self, probabilities: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[Prediction]:
        return [
            Prediction(index, self._labels[index], round(probability, DECIMALS))
            for index, probability in top_classes(probabilities, self._top_k)
        ]
