"""Published weights: where they are, torchvision's server and for ResNet18 a mirror, and what pictures they expect."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from marserve.archive.weights.files import WeightsError
from marserve.archive.weights.state_dict import unallocated
from marserve.handler.resnet18.description import Normalization, Preprocessing
from marserve.handler.resnet18.network import EFFICIENTNET_LITE0, build_network

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

#: The endpoint where HF_ENDPOINT names no other.
HUGGING_FACE = "https://huggingface.co"
#: torch hub's convention: the name of a file ends in the first digits of its SHA-256.
_DIGITS_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
#: Whole digests, by file name, where several independent projects publish the same one.
_WHOLE_SHA256 = {"resnet18-f37072fd.pth": "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"}
#: Two large networks have no IMAGENET1K_V1; of their weights, the second name's are made for 224×224 pictures.
_PREFERRED = ("IMAGENET1K_V1", "IMAGENET1K_SWAG_LINEAR_V1")


@dataclass(frozen=True)
class PublishedFile:
    """A file to download; ``sha256`` is its whole digest or the first digits of it, at least eight."""

    url: str
    cache_name: str
    sha256: str
    source: str


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
    """The file of ``official_weights``, as torch hub names it."""
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
