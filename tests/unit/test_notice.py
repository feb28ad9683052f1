"""NOTICE names every package that a user gets, so that nobody installs a licence unseen."""

from __future__ import annotations

import re
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import REPOSITORY


def _installed_with(name: str, extras: set[str], found: set[str]) -> set[str]:
    """The packages that are installed here because ``name`` with ``extras`` needs them."""
    try:
        requirements = metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # for another platform
        return found
    found.add(canonicalize_name(name))
    for text in requirements:
        requirement = Requirement(text)
        wanted = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in {"", *extras}
        )
        if wanted and (requirement.extras or canonicalize_name(requirement.name) not in found):
            _installed_with(requirement.name, requirement.extras, found)
    return found


def test_notice_names_each_package_with_its_licence() -> None:
    notice = set(re.findall(r"[A-Za-z0-9][A-Za-z0-9.-]*", (REPOSITORY / "NOTICE").read_text(encoding="utf-8").lower()))
    packages = _installed_with("marserve", {"serve", "heif", "int8", "tracing", "ray"}, set())
    assert len(packages) > 40  # else the walk went wrong
    assert sorted(packages - notice) == []
