"""pyproject.toml, requirements.lock and what the code imports agree."""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import REPOSITORY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
BASE: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[Any]] = PROJECT["dependency-groups"]
#: An extra that holds others names the project itself, a group that holds others is no text.
DECLARED = [
    line
    for line in [*BASE, *itertools.chain(*EXTRAS.values(), *GROUPS.values())]
    if isinstance(line, str) and not line.startswith("marserve[")
]
LOCKED = [
    Requirement(line)
    for line in (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PYTHONS = ("3.10.14", "3.11.9", "3.13.1")
#: The worker's own: TorchServe's package calls itself ts, and an archive's folder is on the path.
OURS = {"marserve", "resnet18"}


def applies(requirement: Requirement, python: str) -> bool:
    version = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    return requirement.marker is None or requirement.marker.evaluate(version)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_a_fitting_version_of_every_requirement(python: str) -> None:
    locked = {canonicalize_name(pin.name): pin for pin in LOCKED if applies(pin, python)}
    for requirement in map(Requirement, DECLARED):
        if applies(requirement, python):
            pin = locked.get(canonicalize_name(requirement.name))
            assert pin is not None, f"{requirement} is not in requirements.lock: run scripts/lock"
            (version,) = (specifier.version for specifier in pin.specifier)
            assert version in requirement.specifier, f"{requirement}, but {pin} is locked: run scripts/lock"


def imports(folder: Path) -> Iterator[tuple[Path, str]]:
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file, name.name.partition(".")[0]) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield file, node.module.partition(".")[0]


@pytest.mark.parametrize("folder", ["src", "handler"])
def test_what_is_imported_is_declared(folder: str) -> None:
    declared = {canonicalize_name(Requirement(line).name) for lines in [BASE, *EXTRAS.values()] for line in lines}
    providers = packages_distributions()
    undeclared = {
        (file.relative_to(REPOSITORY).as_posix(), name)
        for file, name in imports(REPOSITORY / folder)
        if name not in sys.stdlib_module_names | OURS
        and not declared & {canonicalize_name(provider) for provider in providers.get(name, (name,))}
    }
    assert not undeclared
