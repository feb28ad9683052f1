"""What goes into an archive, as one digest: an archive is stale when its inputs' digest is no longer its own."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path

from marserve.archive.options import BuildOptions
from marserve.paths import HANDLER, PACKAGE

#: Libraries whose version changes what is exported.
LIBRARIES = ("openvino", "torch", "torchvision")


def library_versions() -> dict[str, str]:
    """The installed version of each library in LIBRARIES."""
    return {name: metadata.version(name) for name in LIBRARIES}


def source_files(directory: Path) -> list[Path]:
    """The Python files below ``directory``, sorted; nothing generated."""
    return sorted(directory.rglob("*.py"))


def inputs_digest(
    options: BuildOptions,
    weights_sha256: str | None,
    model_config: bytes,
    labels: bytes,
    quantization: dict[str, str] | None,
) -> str:
    """SHA-256 over the code, the configuration, the labels, the weights and the versions that make an archive.

    ``quantization`` holds what only int8 depends on.
    """
    digest = hashlib.sha256()
    parts = {
        "options": [options.architecture, options.model_name, options.version],
        "libraries": library_versions(),
        "weights": weights_sha256,
        "quantization": quantization,
    }
    digest.update(json.dumps(parts, sort_keys=True).encode())
    for content in (model_config, labels):
        digest.update(hashlib.sha256(content).digest())
    for directory in (HANDLER, PACKAGE / "archive"):
        for file in source_files(directory):
            digest.update(str(file.relative_to(PACKAGE)).encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
