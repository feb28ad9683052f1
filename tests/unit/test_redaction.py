"""What is left out of whatever is shown, stored or handed on."""

from __future__ import annotations

import socket
import subprocess

import psutil
import pytest

from marserve.paths import CONFIG
from marserve.redaction import SECRET_NAME, redacted, without_secrets
from marserve.system.loopback import LOOPBACK
from marserve.torchserve import properties
from tests.support import REPOSITORY


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:canary@cache:6379/0", "redis://user:...@cache:6379/0"),
        ("redis://:can@ary@cache/0", "redis://:...@cache/0"),
        ("rediss://cache:6380/0?password=canary&db=1", "rediss://cache:6380/0?password=...&db=1"),
        ("unix://user:canary@/run/redis.sock?db=1", "unix://user:...@/run/redis.sock?db=1"),
        ("https://canary@hub.example/models", "https://...@hub.example/models"),
        ("http://user:canary@proxy:3128", "http://user:...@proxy:3128"),
        ("https://s3.example/w.pt?X-Amz-Signature=canary&part=1", "https://s3.example/w.pt?X-Amz-Signature=...&part=1"),
        ("https://blob.example/w.pt?sv=2024&sig=canary", "https://blob.example/w.pt?sv=2024&sig=..."),
        ("two: http://a:canary@b and http://c:canary@d", "two: http://a:...@b and http://c:...@d"),
    ],
)
def test_what_gives_access_is_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:5000", "redis://cache:6379/0", "me@example.org", "https://example.org/a@b?top_k=5", "a://b c@d"],
)
def test_what_gives_no_access_is_shown_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_a_process_that_needs_no_secret_inherits_none() -> None:
    secrets = {
        "MARSERVE_API_KEYS": "canary", "MARSERVE_CLASSIFY_API_KEY": "canary", "API_KEYS": "canary",
        "MARSERVE_CACHE_URL": "redis://:canary@cache", "https_proxy": "http://me:canary@proxy:3128",
        "OTEL_EXPORTER_OTLP_HEADERS": "api=canary", "HF_TOKEN": "canary", "AWS_SESSION": "canary", "PIP_INDEX_URL": "https://me:canary@index.example/simple",
    }  # fmt: skip
    others = {"PATH": "/bin", "no_proxy": "localhost", "MARSERVE_CACHE_TTL_S": "60", "OMP_NUM_THREADS": "2"}
    assert without_secrets(secrets | others) == others


def test_torchserve_keeps_the_same_names_from_its_workers() -> None:
    configured = properties.parse((CONFIG / "config.properties").read_text(encoding="utf-8"))["blacklist_env_vars"]
    assert configured == f"(?i).*({SECRET_NAME.pattern}).*"


@pytest.mark.needs("curl")
def test_the_documented_way_to_use_a_token_does_not_show_it_to_other_users() -> None:
    documents = [
        (REPOSITORY / "docs" / name).read_text(encoding="utf-8") for name in ("reference.md", "reference.zh-CN.md")
    ]
    lines = [
        line for document in documents for line in document.splitlines() if "scripts/token" in line and "curl" in line
    ]
    assert len(lines) == 4
    assert all('curl --oauth2-bearer "$(./scripts/token' in line for line in lines)
    with socket.create_server((LOOPBACK, 0)) as silent:
        url = f"http://{LOOPBACK}:{silent.getsockname()[1]}"
        with subprocess.Popen(["curl", "--silent", "--oauth2-bearer", "canary", url]) as curl:  # noqa: S607
            try:
                accepted, _ = silent.accept()
                with accepted:
                    assert b"Authorization: Bearer canary" in accepted.recv(4096)
                    shown = psutil.Process(curl.pid).cmdline()
            finally:
                curl.kill()
    assert url in shown
    assert "canary" not in " ".join(shown)
