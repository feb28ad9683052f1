"""An object store like S3 on this machine: moto's server, which keeps everything in its memory."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from marserve.system.loopback import LOOPBACK, free_ports
from marserve.system.waiting import wait_until

#: Seconds for it to answer, on a busy machine.
START_S = 60.0


@contextmanager
def object_store(log: Path, *buckets: str) -> Iterator[dict[str, str]]:
    """The variables with which programs find it; it has ``buckets``, which are empty."""
    (port,) = free_ports(1)
    url = f"http://{LOOPBACK}:{port}"
    with log.open("wb") as file:
        server = subprocess.Popen(["moto_server", "-H", LOOPBACK, "-p", str(port)], stdout=file, stderr=file)  # noqa: S607
    try:
        assert wait_until(lambda: _answers(url), START_S, while_alive=lambda: server.poll() is None), log.read_text()
        for bucket in buckets:
            requests.put(f"{url}/{bucket}", timeout=START_S).raise_for_status()
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "anybody",
            "AWS_SECRET_ACCESS_KEY": "anything",  # pragma: allowlist secret
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",  # nobody answers where a machine of the cloud is told its keys
        }
    finally:
        server.terminate()
        server.wait(START_S)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/moto-api/", timeout=5).ok
    except requests.RequestException:
        return False
