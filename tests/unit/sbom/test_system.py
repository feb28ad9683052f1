"""The packages of the operating system, where an image consists of just what the product needs."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.sbom import document
from marserve.sbom.document import bill_of_materials
from marserve.sbom.packages import Package, installed_packages
from marserve.sbom.system import PARTS, STATUS, system_packages

STANZAS = """Package: libc6
Status: install ok installed
Source: glibc (2.36-9)
Version: 2.36-9+deb12u14
Architecture: amd64
Description: GNU C Library
 Contains the standard libraries: one line more.

Package: zlib1g
Status: install ok installed
Version: 1:1.2.13.dfsg-1
Architecture: amd64

Package: removed
Status: deinstall ok config-files
Version: 1
Architecture: all
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / PARTS).mkdir(parents=True)
    (tmp_path / STATUS).write_text(STANZAS, encoding="utf-8")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "debian", "VERSION_ID": "12"})
    return tmp_path


def test_it_has_what_is_installed_with_the_names_that_scanners_know(root: Path) -> None:
    java = "Package: openjdk\nStatus: install ok installed\nVersion: 17~1\nArchitecture: amd64\n"
    (root / PARTS / "openjdk").write_text(java, encoding="utf-8")
    found = {component["purl"]: component["properties"][0]["value"] for component in system_packages(root)}
    assert found == {
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12": "glibc",
        "pkg:deb/debian/openjdk@17~1?arch=amd64&distro=debian-12": "openjdk",
        "pkg:deb/debian/zlib1g@1%3A1.2.13.dfsg-1?arch=amd64&distro=debian-12": "zlib1g",
    }


def test_a_system_without_dpkg_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(MarserveError, match=r"status: No such file or directory\. Only dpkg's records"):
        system_packages(tmp_path)


def test_where_torchserve_is_not_installed_neither_its_jar_nor_java_is_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_torchserve() -> dict[str, Package]:
        packages = installed_packages()
        del packages["torchserve"]
        return packages

    monkeypatch.setattr(document, "installed_packages", without_torchserve)
    bom = bill_of_materials()
    assert {component["type"] for component in bom["components"]} == {"library"}
    assert bom["vulnerabilities"] == []
    refs = {component["bom-ref"] for component in bom["components"]}
    assert {needed for entry in bom["dependencies"] for needed in entry["dependsOn"]} <= refs
