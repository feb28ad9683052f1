"""The list of what is inside TorchServe's jar, held to the jar."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from zipfile import ZipFile

import pytest

from marserve.archive.weights.files import sha256_of
from marserve.sbom.jar import Artifact, jar_file, read_jar

#: A module's description belongs to no package.
DESCRIPTION = "module-info.class"


@pytest.fixture(scope="module")
def jar() -> Iterator[ZipFile]:
    with ZipFile(jar_file()) as jar:
        yield jar


def classes(jar: ZipFile) -> list[str]:
    return [name for name in jar.namelist() if name.endswith(".class") and not name.endswith(DESCRIPTION)]


def test_the_jar_is_the_one_that_is_listed() -> None:
    assert sha256_of(jar_file()) == read_jar().sha256


def test_every_class_belongs_to_a_listed_library_and_every_library_has_some(jar: ZipFile) -> None:
    known = read_jar()
    owners = Counter(known.owner(name) for name in classes(jar))
    assert [name for name in classes(jar) if known.owner(name) is None] == []
    assert set(owners) == set(known.artifacts)


def test_no_library_is_listed_twice() -> None:
    coordinates = Counter(artifact.coordinates for artifact in read_jar().artifacts)
    packages = Counter(package for artifact in read_jar().artifacts for package in artifact.packages)
    assert [name for name, count in (coordinates + packages).items() if count > 1] == []


def test_each_version_is_what_the_jar_says(jar: ZipFile) -> None:
    known = read_jar()
    compiled: dict[Artifact, Counter[str]] = {artifact: Counter() for artifact in known.artifacts}
    for name in classes(jar):
        artifact = known.owner(name)
        assert artifact is not None
        compiled[artifact]["-".join(f"{part:02}" for part in jar.getinfo(name).date_time[:3])] += 1
    names = set(jar.namelist())
    for artifact in known.artifacts:
        if day := re.search(r"compiled on (\S+?)(;|$)", artifact.known_by):
            assert compiled[artifact].most_common(1)[0][0] == day[1], artifact
        elif artifact.known_by in names:
            content = jar.read(artifact.known_by)
            expected = f"{artifact.name}.version={artifact.version}" if "netty" in artifact.name else artifact.version
            # Several libraries' files of one name stand in the jar one after the other.
            assert expected.encode() in content or artifact.version in _all_of(jar, artifact.known_by), artifact
        else:
            assert "compiled" not in artifact.known_by, artifact


def _all_of(jar: ZipFile, name: str) -> str:
    return "".join(jar.read(info).decode("latin-1") for info in jar.infolist() if info.filename == name)
