"""The list of known holes: whole, about what is in the jar, and the same in the documentation."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET  # nosec B405 # reads our own file
from zipfile import ZipFile

import pytest

from marserve.paths import CONFIG
from marserve.sbom.jar import Hole, jar_file, read_holes, read_jar
from marserve.torchserve import properties
from tests.support import REPOSITORY

HOLES = read_holes().holes
#: https://cyclonedx.org/docs/1.6/json/#vulnerabilities_items_analysis_justification
JUSTIFICATIONS = {
    "code_not_present", "code_not_reachable", "requires_configuration", "requires_dependency", "requires_environment",
    "protected_by_compiler", "protected_at_runtime", "protected_at_perimeter", "protected_by_mitigating_control",
}  # fmt: skip
#: How pattern layouts write what else than fields: lookups, which log4j's worst hole was in. The two properties are of
#: our own command line.
LOOKUP = re.compile(
    r"\$\{(?!env:LOG_LOCATION:-logs\}|directory\}|line\}|sys:(console\.level:-warn|log\.size:-10 MB)\})"
)


@pytest.mark.parametrize("hole", HOLES, ids=lambda hole: f"{hole.ids[0]} {hole.artifacts[0]}")
def test_a_hole_is_of_something_in_the_jar_and_has_a_reason_that_a_test_shows(hole: Hole) -> None:
    assert set(hole.artifacts) <= {artifact.coordinates for artifact in read_jar().artifacts}
    assert all(re.fullmatch(r"(CVE-\d{4}-\d{4,}|GHSA(-[23456789cfghjmpqrvwx]{4}){3})", number) for number in hole.ids)
    assert list(hole.ids) == sorted(set(hole.ids), key=hole.ids.index)
    assert hole.reason.justification in JUSTIFICATIONS
    file, _, name = hole.reason.test.partition("::")
    assert f"def {name}(" in (REPOSITORY / file).read_text(encoding="utf-8")
    assert bool(hole.classes) == (hole.reason.justification == "code_not_reachable")


def test_the_classes_that_are_never_loaded_are_in_the_jar() -> None:
    with ZipFile(jar_file()) as jar:
        names = set(jar.namelist())
    assert [name for hole in HOLES for name in hole.classes if f"{name.replace('.', '/')}.class" not in names] == []


def test_the_log_is_written_to_files_by_patterns_without_lookups() -> None:
    text = (CONFIG / "log4j2.xml").read_text(encoding="utf-8")
    appenders = ET.fromstring(text).find("Appenders")  # noqa: S314 - our own file
    assert appenders is not None
    assert {appender.tag for appender in appenders} == {"Console", "RollingFile"}
    layouts = {element.tag for appender in appenders for element in appender.iter() if "Layout" in element.tag}
    assert layouts == {"PatternLayout"}
    assert LOOKUP.findall(text) == []
    arguments = properties.parse((CONFIG / "config.properties").read_text(encoding="utf-8"))["vmargs"]
    assert "jndi" not in arguments.lower()


def test_windows_is_not_supported() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    systems = re.findall(r'"Operating System :: ([^"]+)"', project)
    assert systems == ["MacOS", "POSIX :: Linux"]


def table() -> str:
    """The table in docs/security.md."""
    lines = ["| what | where | numbers | why it is not reached |", "|---|---|---|---|"]
    for hole in HOLES:
        where = ", ".join(name.partition(":")[2] for name in hole.artifacts)
        lines.append(f"| {hole.what} | {where} | {', '.join(hole.ids)} | {hole.reason.title} |")
    return "\n".join(lines)


def test_the_documentation_has_the_same_list() -> None:
    document = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    assert table() in document, f"docs/security.md needs:\n\n{table()}\n"
    assert f"as of {read_holes().as_of}" in document
    for reason in {hole.reason for hole in HOLES}:
        assert reason.title in document.split(table())[1], f"docs/security.md says nothing of: {reason.title}"
        assert f"`{reason.test}`" in document


def test_every_test_that_the_documentation_names_is_there() -> None:
    document = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", document))
    assert len(named) > 25
    for file, name in sorted(named):
        assert re.search(rf"def {name}\(", (REPOSITORY / file).read_text(encoding="utf-8")), f"{file}::{name}"
