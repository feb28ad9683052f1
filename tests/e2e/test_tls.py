"""A stack whose web service speaks TLS: whatever of ours talks to it still does, while its certificate changes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from marserve.system import loopback
from tests.certificates import Pair, make_pair, replace_pair
from tests.e2e.serving import ANSWER_S, SERVE, SharedStack, Stack, shared_stack, wait_for
from tests.support import CAT

pytestmark = pytest.mark.needs("openssl", "curl")

KEY = "key-of-the-secure-stack"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, pair: Pair) -> Iterator[SharedStack]:
    files = {"MARSERVE_TLS_CERTIFICATE": str(pair.certificate), "MARSERVE_TLS_KEY": str(pair.key)}
    with shared_stack(request, *SERVE, "--autoscale", "1..2", MARSERVE_API_KEYS=KEY, **files) as shared:
        yield shared


def answer(stack: Stack, certificate: Path) -> int | None:
    """The status of a classification, over TLS."""
    headers = {"X-API-Key": KEY}
    reply = loopback.request(
        "POST", stack.ports.web_port, "/classify", body=CAT.read_bytes(), headers=headers, certificate=certificate
    )
    return None if reply is None else reply.status


def test_everything_of_the_stack_works_over_tls_while_the_certificate_changes(
    shared: SharedStack, pair: Pair, tmp_path: Path
) -> None:
    stack = shared.as_started()  # its readiness is asked over TLS, too
    port, shown = stack.ports.web_port, stack.run_directory.certificate
    assert f" https://127.0.0.1:{port}\n" in stack.announcement
    (line,) = [line for line in stack.announcement.splitlines() if "curl " in line]
    command = [*line.partition("curl ")[2].split(), "-H", f"X-API-Key: {KEY}", "--fail", "--silent", "--show-error"]
    told = subprocess.run(["curl", *command], capture_output=True, text=True, check=False)  # noqa: S607 - wherever it is
    assert "tabby" in told.stdout or "label" in told.stdout, told.stderr
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/healthz", timeout=ANSWER_S)
    assert answer(stack, shown) == requests.codes.ok

    expired = make_pair(tmp_path, "expired", host="10.9.8.7", days=-1)
    replace_pair(pair, expired)
    wait_for(lambda: shown.read_text() == expired.certificate.read_text())
    assert answer(stack, shown) == requests.codes.ok
    status = json.loads(stack.run("marserve", "status", "--json").stdout)
    assert status["web_reasons"] == []
    key = {"MARSERVE_CLASSIFY_API_KEY": KEY}
    classified = stack.run("marserve", "classify", str(CAT), "--format", "jsonl", **key)
    assert classified.returncode == 0, classified.stderr
    by_address = stack.run(
        "marserve", "classify", str(CAT), "--url", f"https://127.0.0.1:{port}", "--deadline", "5", **key
    )
    assert by_address.returncode == 1
    assert "--ca" in by_address.stderr
    trusted = make_pair(tmp_path, "trusted")
    replace_pair(pair, trusted)
    wait_for(lambda: shown.read_text() == trusted.certificate.read_text())
    by_authority = stack.run(
        "marserve", "classify", str(CAT), "--url", f"https://127.0.0.1:{port}", "--ca", str(trusted.certificate), **key
    )
    assert by_authority.returncode == 0, by_authority.stderr

    watching = (stack.run_directory.logs / "autoscale.log").read_text()
    assert "do not answer" not in watching, watching
    assert stack.run("stop").returncode == 0
    assert not shown.exists()
