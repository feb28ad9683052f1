"""Fixtures of several files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from marserve.archive.build import BuiltArchive
from tests.deploy.containers import Containers
from tests.deploy.fake_hosts import hosts

__all__ = ["containers", "hosts"]


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory, resnet18_archive: BuiltArchive) -> Iterator[Containers]:
    """A storage of their own with both images and the archive's; it is gone when the run ends."""
    containers = Containers(tmp_path_factory.mktemp("containers"))
    try:
        containers.make_base()
        containers.build("--bake", resnet18_archive.path, "--archive", resnet18_archive.path)
        yield containers
    finally:
        containers.remove()
    assert not containers.directory.exists()
