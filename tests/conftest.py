"""Archives that several tests use, built once a run; tests/requirements.py judges what tests need besides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from marserve.archive.build import BuiltArchive, build
from marserve.archive.package import BuildOptions
from tests.support import report, unpack

pytest_plugins = ["tests.requirements", "pytester"]


@pytest.fixture(autouse=True)
def own_pixel_limit() -> Iterator[None]:
    """A decoder sets Pillow's limit, a setting of the process; the next test has the usual one."""
    limit = Image.MAX_IMAGE_PIXELS
    yield
    Image.MAX_IMAGE_PIXELS = limit


@pytest.fixture(scope="session")
def resnet18_archive(tmp_path_factory: pytest.TempPathFactory) -> BuiltArchive:
    """ResNet18 with seeded weights, for tests of numbers."""
    return build(BuildOptions(weights="untrained", output=tmp_path_factory.mktemp("resnet18")), report=report)


@pytest.fixture(scope="session")
def demonstration_archive(tmp_path_factory: pytest.TempPathFactory) -> BuiltArchive:
    """EfficientNet-Lite0 with ImageNet weights, for tests of labels."""
    name = "efficientnet_lite0"
    options = BuildOptions(architecture=name, model_name=name, output=tmp_path_factory.mktemp(name))
    return build(options, report=report)


@pytest.fixture(scope="session")
def resnet18_directory(resnet18_archive: BuiltArchive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seeded archive unpacked, as TorchServe hands it to a worker."""
    return unpack(resnet18_archive.path, tmp_path_factory.mktemp("unpacked"))


@pytest.fixture(scope="session")
def demonstration_directory(demonstration_archive: BuiltArchive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration archive unpacked."""
    return unpack(demonstration_archive.path, tmp_path_factory.mktemp("unpacked"))
