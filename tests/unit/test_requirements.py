"""What a machine lacks keeps a test from being run, is named at the end, and is a failure in CI."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import requirements
from tests.requirements import REQUIREMENTS, Requirement
from tests.support import REPOSITORY

TESTS = """
import pytest

@pytest.fixture
def changed(pytestconfig):
    (pytestconfig.rootpath / "changed").touch()

@pytest.mark.needs("{name}")
def test_with_it(changed): pass

def test_without_it(): pass
"""


@pytest.fixture(autouse=True)
def _a_machine_that_lacks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setitem(REQUIREMENTS, "flute", Requirement("music", "Debian: apt-get install flute", lambda: False))
    monkeypatch.setitem(REQUIREMENTS, "gpu", Requirement("speed", "buy one", lambda: False, is_optional=True))
    requirements.is_there.cache_clear()


def run(pytester: pytest.Pytester, tests: str) -> pytest.RunResult:
    pytester.makepyfile(tests)
    return pytester.runpytest_inprocess("-p", "tests.requirements", "-p", "no:randomly")


def test_a_test_that_lacks_a_program_changes_nothing_and_the_run_ends_with_how_to_get_it(
    pytester: pytest.Pytester,
) -> None:
    result = run(pytester, TESTS.format(name="flute"))
    result.assert_outcomes(passed=1, skipped=1)
    assert not (Path(pytester.path) / "changed").exists()
    result.stdout.fnmatch_lines(["flute: 1 test waits for it (music). Debian: apt-get install flute."])


def test_several_processes_end_with_how_to_get_it_as_well(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "from tests.requirements import REQUIREMENTS, Requirement\n"
        "REQUIREMENTS['flute'] = Requirement('music', 'Debian: apt-get install flute', lambda: False)"
    )
    pytester.makepyfile(TESTS.format(name="flute"))
    result = pytester.runpytest_inprocess("-p", "tests.requirements", "-p", "xdist", "-n", "2")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["flute: 1 test waits for it (music). Debian: apt-get install flute."])


@pytest.mark.parametrize(("name", "errors"), [("flute", 1), ("gpu", 0)])
def test_in_ci_a_skip_is_a_failure_except_for_a_gpu(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str, errors: int
) -> None:
    monkeypatch.setenv("CI", "true")
    run(pytester, TESTS.format(name=name)).assert_outcomes(passed=1, errors=errors, skipped=1 - errors)


@pytest.mark.parametrize(
    "tests",
    [
        "import pytest\ndef test_skip(): pytest.skip('no time')",
        "import pytest\npytest.skip('no time', allow_module_level=True)",
    ],
    ids=["test", "module"],
)
def test_in_ci_any_other_skip_is_a_failure_too(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tests: str
) -> None:
    monkeypatch.setenv("CI", "true")
    result = run(pytester, tests)
    outcomes = result.parseoutcomes()
    assert "skipped" not in outcomes
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 1
    result.stdout.fnmatch_lines(["*In CI nothing is skipped*no time*"])


def test_an_unknown_name_ends_the_run(pytester: pytest.Pytester) -> None:
    assert run(pytester, TESTS.format(name="floot")).ret == pytest.ExitCode.USAGE_ERROR


def test_no_test_skips_itself() -> None:
    """One marker, so that each reason is known before anything is changed."""
    skips = re.compile(r"pytest\.(mark\.skipif|skip\(|importorskip)")
    files = [path for path in (REPOSITORY / "tests").rglob("*.py") if path != Path(__file__)]
    assert [path.name for path in files if skips.search(path.read_text(encoding="utf-8"))] == []
