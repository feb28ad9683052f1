"""Does an archive work by itself? Run as ``python -I verify.py ARCHIVE PICTURE EXPECTED``.

As a script it runs in a process of its own, isolated from the repository, and loads the archive with TorchServe's own
model loader, as a worker does. PICTURE is a PNG, which every decoder reads alike, and EXPECTED (.npz) holds its
probabilities (classes,): ``torch``, by eager torch, and ``served``, the same again but for an archive in int8, where it
is the answer of the graph that was judged. Exits with 1 and the reason as the last line on stderr when the archive
fails.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from ts.context import RequestProcessor
from ts.model_loader import ModelLoaderFactory

if TYPE_CHECKING:  # what the script runs without: the package must not stand in for what the archive lacks
    import torch

    from marserve.handler.resnet18.description import Preprocessing

#: Largest difference of a probability to the one expected that a good archive shows, by what it computes in.
TOLERANCE = {"f32": 1e-5, "bf16": 0.05, "int8": 0.02}


def find_fault(
    archive: Path, classifier: torch.nn.Module, preprocessing: Preprocessing, scratch: Path, quantized: Path | None
) -> str | None:
    """Compare the archive's answer, in an isolated process, with that of ``classifier`` here; None where it is right.

    An archive in int8 may differ from it by as much as was judged acceptable; it is compared with its own graph, in
    directory ``quantized``, and what it carries for GPUs with ``classifier``.
    """
    import torch
    from PIL import Image

    from marserve.archive.int8 import answer
    from marserve.handler.resnet18.engines.openvino_engine import GRAPH_FILE
    from marserve.paths import EXAMPLE_PICTURE

    # A PNG that needs no resizing, only the crop: every decoder gets the same pixels from it, so that it is the network
    # that is compared.
    side, crop = preprocessing.resize_size, preprocessing.crop_size
    with Image.open(EXAMPLE_PICTURE) as example:
        picture = example.convert("RGB").resize((side, side))
    picture.save(scratch / "picture.png")
    margin = round((side - crop) / 2)
    pixels = np.array(picture)[margin : margin + crop, margin : margin + crop]
    with torch.inference_mode():
        expected = classifier(torch.from_numpy(pixels)[None])[0][0].numpy()
    served = expected if quantized is None else answer(quantized / GRAPH_FILE, pixels[None])[0]
    np.savez(scratch / "expected.npz", torch=expected, served=served)
    command = [sys.executable, "-I", __file__, str(archive), "picture.png", "expected.npz"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    return (done.stderr.strip().splitlines() or ["It ended without a message."])[-1] if done.returncode else None


def verify(archive: Path, picture: Path, expected: Mapping[str, NDArray[np.float32]]) -> None:
    """Classify ``picture`` with the archive. Raises ValueError that says what is wrong with its answer."""
    with tempfile.TemporaryDirectory(prefix="verify-") as unpacked:
        with zipfile.ZipFile(archive) as mar:
            mar.extractall(unpacked)
        sys.path.insert(0, unpacked)
        # TorchServe's loader takes a missing module for the wish of one of its own handlers; this says which it is.
        importlib.import_module("resnet18_handler")
        manifest = json.loads(Path(unpacked, "MAR-INF", "MANIFEST.json").read_text())["model"]
        service = ModelLoaderFactory.get_model_loader().load(manifest["modelName"], unpacked, manifest["handler"])
        description = _request(service, {}, {"describe": "True"})
        precision = description["running"]["precision"]
        answer = _request(service, {"body": picture.read_bytes()}, {"X-Top-K": "1000"})
        shown = [prediction["class_id"] for prediction in answer["predictions"]]
        served = [prediction["probability"] for prediction in answer["predictions"]]
        _compare(np.array(served), expected["served"][shown], f"The {precision} answer", TOLERANCE[precision])
        _check_torch_engine(Path(unpacked), picture, expected["torch"])


def _request(service: Any, fields: dict[str, Any], headers: dict[str, str]) -> Any:
    context = service.context
    context.request_processor, context.request_ids = [RequestProcessor(headers)], {0: "verify"}
    (body,) = service._entry_point([fields], context)
    status, _ = context.get_response_status(0)
    if status != 200:
        raise ValueError(f"It answered {status}: {body.decode()}")
    return json.loads(body)


def _compare(found: NDArray[np.floating], expected: NDArray[np.float32], what: str, tolerance: float) -> None:
    difference = float(np.abs(found - expected).max())
    if not difference <= tolerance:  # also where it is not a number
        raise ValueError(f"{what} differs from eager torch by {difference:.2g}; {tolerance:.2g} is allowed")


def _check_torch_engine(unpacked: Path, picture: Path, expected: NDArray[np.float32]) -> None:
    """What the archive carries for GPUs, tried on the CPU."""
    # From the archive, which is on the path only now.
    from resnet18.description import Description
    from resnet18.engines.torch_engine import TorchEngine
    from resnet18.images import ImageDecoder, ImageLimits

    description = Description.read(unpacked)
    content = picture.read_bytes()
    pixels = ImageDecoder(description.preprocessing, ImageLimits(len(content), 2**30), "exact").decode(content).pixels
    engine = TorchEngine(unpacked, description, "f32", threads=1, gpu_id=None)
    probabilities, _ = engine.infer(pixels[None])
    _compare(probabilities[0], expected, "The torch engine's answer", TOLERANCE["f32"])


if __name__ == "__main__":
    try:
        verify(Path(sys.argv[1]), Path(sys.argv[2]), dict(np.load(sys.argv[3])))
    except ValueError as exc:
        sys.exit(str(exc))
