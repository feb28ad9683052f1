"""What ``marserve sbom`` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from marserve.cli import sbom
from marserve.cli.main import read
from marserve.sbom import document
from marserve.sbom.document import JarUnknownError, bill_of_materials
from marserve.sbom.jar import read_holes, read_jar

BOM = bill_of_materials()


def components(part: dict[str, Any] = BOM) -> Iterator[dict[str, Any]]:
    for component in part.get("components", []):
        yield component
        yield from components(component)


def by_purl(start: str) -> dict[str, Any]:
    return next(component for component in components() if component.get("purl", "").startswith(start))


def test_it_is_what_cyclonedx_defines() -> None:
    schemas = files("cyclonedx.schema._res")

    def schema(name: str) -> Any:
        return json.loads(schemas.joinpath(f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))

    others = {f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json": schema(name) for name in ("spdx", "jsf-0.82")}
    registry = jsonschema_rs.Registry(list(others.items()))
    errors = jsonschema_rs.Draft7Validator(schema("bom-1.6"), registry=registry).iter_errors(BOM)
    assert [f"{error.instance_path}: {error.message[:200]}" for error in errors] == []


def test_every_reference_leads_to_a_component() -> None:
    refs = [component["bom-ref"] for component in components()]
    assert len(refs) == len(set(refs))
    known = {*refs, BOM["metadata"]["component"]["bom-ref"]}
    needed = {ref for entry in BOM["dependencies"] for ref in (entry["ref"], *entry["dependsOn"])}
    affected = {entry["ref"] for hole in BOM["vulnerabilities"] for entry in hole["affects"]}
    assert (needed | affected) - known == set()


def test_it_has_the_packages_the_libraries_in_their_wheels_the_jar_and_java() -> None:
    assert by_purl("pkg:pypi/torch@")["version"] == metadata.version("torch")
    assert by_purl("pkg:maven/io.netty/netty-codec-http@")["version"] == "4.1.53.Final"
    assert by_purl("pkg:maven/io.grpc/grpc-netty-shaded@1.50.0")["components"]
    assert by_purl("pkg:npm/swagger-ui-dist@")["licenses"] == [{"expression": "Apache-2.0"}]
    assert by_purl("pkg:generic/openjdk@")["bom-ref"] == "java"
    names = {component["name"] for component in components()}
    assert {artifact.name for artifact in read_jar().artifacts} <= names
    assert "pytest" not in names  # of tests, not of the product


def test_what_tests_need_is_no_part_of_it_and_every_package_says_its_licence() -> None:
    without = {component["name"] for component in BOM["components"] if not component.get("licenses")}
    assert without <= {"model-server.jar", "OpenJDK", "Java", "cuda-toolkit"}  # its metadata names none


def test_each_known_hole_is_said_not_to_concern_the_product_and_why() -> None:
    said = {(hole["id"], hole["analysis"]["state"]) for hole in BOM["vulnerabilities"]}
    assert said == {(number, "not_affected") for hole in read_holes().holes for number in hole.ids}
    assert all("Shown by tests/" in hole["analysis"]["detail"] for hole in BOM["vulnerabilities"])


def test_the_same_installation_gives_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    output = tmp_path / "marserve.cdx.json"
    assert sbom.run(read("sbom", ["--output", str(output)])) == 0
    assert capsys.readouterr().out == f"Written: {output}\n"
    assert sbom.run(read("sbom", [])) == 0
    assert capsys.readouterr().out == output.read_text(encoding="utf-8")
    assert json.loads(output.read_text(encoding="utf-8"))["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_a_jar_of_which_nothing_is_known_is_no_bill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "model-server.jar"
    other.write_bytes(b"another")
    monkeypatch.setattr(document, "jar_file", lambda: other)
    with pytest.raises(JarUnknownError, match=r"what is inside it is not known"):
        bill_of_materials()
