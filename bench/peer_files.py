"""peer.toml: what a peer is, and the variants in which it is measured."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bench.errors import BenchError
from bench.gpu import Device
from bench.target import BodyFormat, BodyKind

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PEERS = Path(__file__).resolve().parent / "peers"
#: What commands and values may name in braces.
PLACEHOLDERS = frozenset(
    {"python", "repository", "archive", "precision", "cores", "temp", "peer", "weights", "labels", "common"}
    | {"port", "port1", "port2", "port3", "port4"}
)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Strict):
    """One way to run a peer."""

    name: str
    command: tuple[str, ...]
    engine: Literal["recipe", "ours"] = "recipe"
    device: Device = "cpu"
    environment: dict[str, str] = {}
    #: Run to its end before the server starts, in the same place; its time is no part of the start.
    prepare: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it runs this project's engine and decoder."""
        return self.engine == "ours"

    @model_validator(mode="after")
    def _check_name(self) -> Variant:
        if (self.device == "gpu") != self.name.startswith("GPU, "):
            raise ValueError(f"The name {self.name!r} must begin with 'GPU, ' where device is 'gpu', and only there.")
        return self

    @model_validator(mode="after")
    def _check_placeholders(self) -> Variant:
        for text in [*self.command, *self.prepare, *self.environment.values()]:
            if unknown := set(re.findall(r"\{(\w+)\}", text)) - PLACEHOLDERS:
                raise ValueError(f"{{{'}, {'.join(sorted(unknown))}}} in {text!r} is no placeholder.")
        return self


class Peer(_Strict):
    """One server, with all its variants."""

    directory: Path
    title: str
    documentation: str
    path: str
    #: The form in which it takes a picture, and what that form needs.
    body: BodyKind = "raw"
    field: str = "file"
    shape: tuple[int, ...] = (1,)
    template: str = ""
    variants: tuple[Variant, ...]
    environment: dict[str, str] = {}
    ready: str | None = None
    namespace: bool = False
    extra_ports: int = 0

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def form(self) -> BodyFormat:
        """How a picture travels to it."""
        return BodyFormat(self.body, self.field, self.shape, self.template)


def read_peers(directory: Path = PEERS) -> list[Peer]:
    """Every peer of ``directory``, by name. Raises BenchError that names the file and the key."""
    return [read_peer(file.parent) for file in sorted(directory.glob("*/peer.toml"))]


def read_peer(directory: Path) -> Peer:
    """The peer of ``directory``. Raises BenchError that names the file and the key."""
    file = directory / "peer.toml"
    try:
        return Peer(directory=directory, **tomllib.loads(file.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as exc:
        raise BenchError(f"{file} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise BenchError(f"{file}: {exc}") from exc


def substitute(text: str, values: Mapping[str, object]) -> str:
    """``text`` with each {placeholder} replaced; other braces, such as JSON's, stay."""
    return re.sub(r"\{(\w+)\}", lambda match: str(values.get(match[1], match[0])), text)
