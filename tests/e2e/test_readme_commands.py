"""The curl commands of the README and the reference work as they stand, and are answered as these say."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import fields
from typing import Any

import pytest

from marserve.stack.ports import Ports
from tests.e2e.serving import Stack, run
from tests.support import REPOSITORY

DOCUMENTS = ("README.md", "README.zh-CN.md", "docs/reference.md")
TEXT = "\n".join((REPOSITORY / name).read_text(encoding="utf-8") for name in DOCUMENTS)
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
#: A command and, where they show it, its answer.
EXAMPLES = re.findall(r"```bash\n(curl .*?)```\n(?:\n```json\n(.*?)```)?", TEXT, re.DOTALL)


def asked_of(stack: Stack, command: str) -> Any:
    """What the command of the README answers, sent to ``stack`` instead of to the default ports."""
    for field in fields(Ports):
        command = command.replace(f"127.0.0.1:{field.default}", f"127.0.0.1:{getattr(stack.ports, field.name)}")
    done = run(["bash", "-c", f"{command.strip()} --silent --show-error --fail"], stack.environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def without_numbers(content: Any) -> Any:
    """``content`` with every fraction replaced by its type: probabilities differ in their last digits."""
    if isinstance(content, dict):
        return {key: without_numbers(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_numbers(value) for value in content]
    return float if isinstance(content, float) else content


def test_there_are_examples_with_answers() -> None:
    assert len([answer for _, answer in EXAMPLES if answer]) >= 2


@pytest.mark.needs("curl")
@pytest.mark.parametrize(("command", "shown"), sorted(set(EXAMPLES)))
def test_a_command_answers_what_the_readme_shows(served: Stack, command: str, shown: str) -> None:
    answer = asked_of(served, command)
    if shown:
        assert without_numbers(answer) == without_numbers(json.loads(shown))


@pytest.mark.parametrize("program", sorted(set(PROGRAMS)))
def test_the_readmes_python_prints_the_label(served: Stack, program: str) -> None:
    program = program.replace(f"127.0.0.1:{Ports.web_port}", f"127.0.0.1:{served.ports.web_port}")
    done = run([sys.executable, "-c", program], served.environment)
    assert (done.returncode, done.stdout) == (0, "Egyptian cat\n"), done.stderr
