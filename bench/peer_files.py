"""peer.toml: what a peer is, and the variants in which it is measured."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.bodies import KINDS, BodyFormat
from bench.errors import BenchError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PEERS = Path(__file__).resolve().parent / "peers"
#: What commands and values may name in braces.
PLACEHOLDERS = frozenset(
    {
        "python",
        "port",
        "port1",
        "port2",
        "port3",
        "port4",
        "repository",
        "archive",
        "precision",
        "cores",
        "temp",
        "peer",
    }
    | {"weights", "labels", "common"}
)
ENGINES = ("recipe", "ours")
_PEER_KEYS = frozenset(
    {"title", "documentation", "path", "body", "field", "shape", "template", "ready", "environment", "variants"}
    | {"namespace", "extra_ports", "prepare", "headers"}
)
_VARIANT_KEYS = frozenset({"name", "command", "environment", "engine", "prepare", "note"})


@dataclass(frozen=True)
class Variant:
    """One way to run a peer."""

    name: str
    command: tuple[str, ...]
    engine: str = "recipe"
    environment: dict[str, str] = field(default_factory=dict)
    #: Run to its end before the server starts, in the same place; its time is no part of the start.
    prepare: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it runs this project's engine and decoder."""
        return self.engine == "ours"


@dataclass(frozen=True)
class Peer:
    """One server, with all its variants."""

    name: str
    directory: Path
    title: str
    documentation: str
    path: str
    body: BodyFormat
    variants: tuple[Variant, ...]
    environment: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    ready: str | None = None
    namespace: bool = False
    extra_ports: int = 0


def read_peers(directory: Path = PEERS) -> list[Peer]:
    """Every peer of ``directory``, by name. Raises BenchError that names the file and the key."""
    return [read_peer(file.parent) for file in sorted(directory.glob("*/peer.toml"))]


def read_peer(directory: Path) -> Peer:
    """The peer of ``directory``. Raises BenchError that names the file and the key."""
    file = directory / "peer.toml"
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        return _peer(directory, content)
    except tomllib.TOMLDecodeError as exc:
        raise BenchError(f"{file} is not TOML: {exc}") from exc
    except KeyError as exc:
        raise BenchError(f"{file} lacks {exc}.") from exc
    except ValueError as exc:
        raise BenchError(f"{file}: {exc}") from exc


def substitute(text: str, values: Mapping[str, object]) -> str:
    """``text`` with each {placeholder} replaced; other braces, such as JSON's, stay."""
    return re.sub(r"\{(\w+)\}", lambda match: str(values.get(match[1], match[0])), text)


def unknown_placeholders(text: str) -> set[str]:
    """Names in braces that are no placeholder."""
    return set(re.findall(r"\{(\w+)\}", text)) - PLACEHOLDERS


def _peer(directory: Path, content: dict[str, Any]) -> Peer:
    _check_keys(content, _PEER_KEYS, "peer")
    kind = content.get("body", "raw")
    if kind not in KINDS:
        raise ValueError(f"body = {kind!r}: use one of {', '.join(KINDS)}.")
    body = BodyFormat(
        kind, content.get("field", "file"), tuple(content.get("shape", (1,))), content.get("template", "")
    )
    shared = tuple(content.get("prepare", ()))
    return Peer(
        name=directory.name,
        directory=directory,
        title=content["title"],
        documentation=content["documentation"],
        path=content["path"],
        body=body,
        variants=tuple(_variant(variant, shared) for variant in content["variants"]),
        environment=_texts(content.get("environment", {})),
        headers=_texts(content.get("headers", {})),
        ready=content.get("ready"),
        namespace=content.get("namespace", False),
        extra_ports=content.get("extra_ports", 0),
    )


def _variant(content: dict[str, Any], prepare: tuple[str, ...]) -> Variant:
    _check_keys(content, _VARIANT_KEYS, "variant")
    variant = Variant(
        name=content["name"],
        command=tuple(content["command"]),
        engine=content.get("engine", "recipe"),
        environment=_texts(content.get("environment", {})),
        prepare=tuple(content.get("prepare", prepare)),
    )
    if variant.engine not in ENGINES:
        raise ValueError(f"engine = {variant.engine!r}: use one of {', '.join(ENGINES)}.")
    for text in [*variant.command, *variant.prepare, *variant.environment.values()]:
        if unknown := unknown_placeholders(text):
            raise ValueError(f"{{{'}, {'.join(sorted(unknown))}}} in {text!r} is no placeholder.")
    return variant


def _check_keys(content: Mapping[str, object], known: frozenset[str], what: str) -> None:
    if unknown := set(content) - known:
        raise ValueError(f"unknown {what} key {', '.join(sorted(unknown))}: use {', '.join(sorted(known))}.")


def _texts(table: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in table.items()}
