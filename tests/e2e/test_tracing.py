"""One picture's trace, from its caller to the worker and into a collector."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from marserve.system.loopback import free_ports
from tests.e2e.serving import ANSWER_S, Stack, wait_for
from tests.otlp_collector import OtlpCollector, draw, otlp_collector
from tests.support import CAT

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with otlp_collector() as started:
        yield started


@contextmanager
def web_service(served: Stack, **variables: str) -> Iterator[str]:
    """Another web service, in front of the same TorchServe."""
    (port,) = free_ports(1)
    settings = {
        "MARSERVE_WEB_PORT": str(port),
        "MARSERVE_INFERENCE_URL": served.inference,
        "MARSERVE_MANAGEMENT_URL": served.management,
        "MARSERVE_KEY_FILE": str(served.run_directory.key_file),
    }
    command = [sys.executable, "-m", "marserve.web"]
    with subprocess.Popen(command, env=os.environ | settings | variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: _status(f"{url}/readyz") == requests.codes.ok)
            yield url
        finally:
            process.terminate()
            output, _ = process.communicate(timeout=ANSWER_S)
    assert process.returncode == 0, output


def _status(url: str) -> int:
    try:
        return requests.get(url, timeout=ANSWER_S).status_code
    except requests.ConnectionError:
        return 0


def test_a_picture_is_one_tree_from_its_caller_to_the_worker(served: Stack, collector: OtlpCollector) -> None:
    of_collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=collectors"}
    with web_service(served, **of_collector, OTEL_SERVICE_NAME="pictures") as url:
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        answer = requests.post(f"{url}/classify", CAT.read_bytes(), headers=headers, timeout=ANSWER_S)
        assert answer.status_code == requests.codes.ok
    # Sent at the latest as the service ended.
    spans = collector.of_trace(TRACE)
    print(draw(spans))
    server, queue, batch, decode, inference = spans
    assert [span.name for span in spans] == ["POST /classify", "queue", "batch", "decode", "inference"]
    assert [span.parent_id for span in spans] == [SPAN, server.span_id, server.span_id, batch.span_id, batch.span_id]
    assert all(span.lies_within(server) for span in (queue, batch))
    assert all(span.lies_within(batch) for span in (decode, inference))
    assert queue.end_ns == batch.start_ns
    assert decode.end_ns == inference.start_ns
    # Of the real worker: a photograph is not decoded, nor classified, in no time.
    assert min(span.end_ns - span.start_ns for span in (decode, inference)) > 100_000
    assert server.attributes["http.response.status_code"] == requests.codes.ok
    assert server.attributes["marserve.model.name"] == answer.json()["model"]
    assert {span.resource["service.name"] for span in spans} == {"pictures"}
    assert {(request["path"], request["api-key"]) for request in collector.headers} == {("/v1/traces", "collectors")}
