"""What is inside TorchServe's jar, and why nobody reaches its known holes: torchserve_jar.toml and known_holes.toml."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Artifact:
    """One library in the jar."""

    group: str
    name: str
    version: str
    license: str
    #: How the version is known.
    known_by: str
    #: Directories of its classes, such as ``io/netty/buffer``; a longer one of another artifact wins.
    packages: tuple[str, ...]
    #: The artifact that it is a renamed part of.
    inside: str | None = None

    @property
    def coordinates(self) -> str:
        """Maven's name; with its version for a part of another, since two versions of one may be there."""
        return f"{self.group}:{self.name}" + (f"@{self.version}" if self.inside else "")

    @property
    def purl(self) -> str:
        return f"pkg:maven/{self.group}/{self.name}@{self.version}"


@dataclass(frozen=True)
class Jar:
    sha256: str
    #: The version of the package torchserve that has it.
    torchserve: str
    artifacts: tuple[Artifact, ...]

    def owner(self, path: str) -> Artifact | None:
        """The artifact that a class belongs to, by the class's ``path`` in the jar."""
        owners = {package: artifact for artifact in self.artifacts for package in artifact.packages}
        parts = path.split("/")[:-1]
        if parts[:2] == ["META-INF", "versions"]:  # the same class for newer Javas
            parts = parts[3:]
        return next((owners[way] for end in range(len(parts), 0, -1) if (way := "/".join(parts[:end])) in owners), None)


@dataclass(frozen=True)
class Reason:
    """Why a hole is not reached."""

    title: str
    #: One of CycloneDX's words.
    justification: str
    text: str
    #: The test that shows it, as pytest names it.
    test: str


@dataclass(frozen=True)
class Hole:
    """Holes of one kind, with one reason."""

    ids: tuple[str, ...]
    #: Coordinates.
    artifacts: tuple[str, ...]
    what: str
    reason: Reason
    #: Java's names of the classes that have it, where the reason is that they are not loaded.
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class KnownHoles:
    #: The day until which what was published is in the list.
    as_of: str
    holes: tuple[Hole, ...] = field(default=())


def jar_file() -> Path:
    """The jar of the installed TorchServe. Raises importlib.metadata.PackageNotFoundError where there is none."""
    return Path(str(distribution("torchserve").locate_file("ts/frontend/model-server.jar")))


@functools.cache
def read_jar() -> Jar:
    content = _read("torchserve_jar.toml")
    return Jar(content["sha256"], content["torchserve"], tuple(_artifacts(content["library"])))


def _artifacts(libraries: list[dict[str, Any]]) -> Iterator[Artifact]:
    for library in libraries:
        for name, packages in library["artifacts"].items():
            named = {key: library[key] for key in ("group", "version", "license", "known_by")}
            yield Artifact(**named, name=name, packages=tuple(packages), inside=library.get("inside"))


@functools.cache
def read_holes() -> KnownHoles:
    content = _read("known_holes.toml")
    reasons: Mapping[str, Reason] = {name: Reason(**reason) for name, reason in content["reason"].items()}
    holes = (
        Hole(
            tuple(hole["ids"]),
            tuple(hole["artifacts"]),
            hole["what"],
            reasons[hole["reason"]],
            tuple(hole.get("classes", ())),
        )
        for hole in content["hole"]
    )
    return KnownHoles(content["as_of"], tuple(holes))


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
