"""``scripts/audit`` tells an index that knows of no hole from one that knows nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support import REPOSITORY

NOTHING = {"dependencies": [{"name": "jinja2", "skip_reason": "Dependency not found on PyPI and could not be audited"}]}
KNOWN = {"dependencies": [{"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-2019-217"}]}]}


@pytest.mark.parametrize(
    ("of_the_old_one", "of_ours", "status", "said"),
    [(KNOWN, 0, 0, ""), (KNOWN, 1, 1, ""), (NOTHING, 0, 3, "Nothing was audited"), (None, 0, 3, "Nothing was audited")],
    ids=["no holes", "holes", "a mirror without the data", "no network"],
)
def test_what_could_not_be_asked_is_not_taken_for_safe(
    of_the_old_one: object, of_ours: int, status: int, said: str, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    answer = "exit 1" if of_the_old_one is None else f"echo '{json.dumps(of_the_old_one)}'; exit 1"
    python.write_text(f'#!/bin/bash\n[[ " $* " == *" requirements.lock "* ]] && exit {of_ours}\n{answer}\n')
    python.chmod(0o700)
    line = ["bash", str(REPOSITORY / ".ci" / "audit"), str(python)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stderr.startswith(said)
