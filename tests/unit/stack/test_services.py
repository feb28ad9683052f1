"""The web service as a process of the stack."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from marserve.autoscale.rules import Assignment, Rules
from marserve.errors import MarserveError
from marserve.stack import services
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.services import AutoscalerService, WebService
from marserve.system.loopback import free_ports


@pytest.fixture
def service(tmp_path: Path) -> WebService:
    ports = Ports(*free_ports(6))
    run_directory = RunDirectory(ports.web_port, tmp_path)
    run_directory.prepare()
    return WebService(ports, run_directory, "127.0.0.1", default_model="resnet18")


def test_what_belongs_to_the_stack_is_not_the_callers_to_set(
    service: WebService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARSERVE_INFERENCE_URL", "http://192.0.2.1:8080")
    monkeypatch.setenv("MARSERVE_RATE_LIMIT_PER_MINUTE", "60")
    environment = service.environment()
    assert environment["MARSERVE_INFERENCE_URL"].startswith("http://127.0.0.1:")
    assert environment["MARSERVE_WEB_HOST"] == "127.0.0.1"
    assert environment["MARSERVE_RATE_LIMIT_PER_MINUTE"] == "60"


def test_each_service_inherits_only_the_secrets_that_it_needs(
    service: WebService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MARSERVE_API_KEYS", "canary-of-callers")
    monkeypatch.setenv("MARSERVE_CACHE_URL", "redis://:canary@cache:6379/0")
    monkeypatch.setenv("MARSERVE_CLASSIFY_API_KEY", "canary-of-a-caller")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=canary")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://me:canary@collector")
    held = {name for name, value in service.environment().items() if "canary" in value}
    of_collector = {"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert held == {"MARSERVE_API_KEYS", "MARSERVE_CACHE_URL", *of_collector}
    assignment = Assignment(["a"], Rules(1, 2), 1, 1, 2, "127.0.0.1", 3, "key_file.json", "change.lock")
    autoscaler = AutoscalerService(RunDirectory(5000, tmp_path), assignment, "canary-of-callers")
    held = {name for name, value in autoscaler.environment().items() if "canary" in value}
    assert held == {"MARSERVE_AUTOSCALE_API_KEY"}
    assert not [word for word in autoscaler.command() if "canary" in word]


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        pytest.param("web: MARSERVE_WEB_PORT=x is no port\n", "web: MARSERVE_WEB_PORT=x is no port", id="plain-text"),
        pytest.param(
            '{"level": "INFO", "message": "request"}\n{"level": "ERROR", "message": "Port taken"}\n',
            "Port taken",
            id="errors-only",
        ),
        pytest.param(
            '{"level": "CRITICAL", "message": "A task has ended", "exception": "Traceback\\n  frame\\nKeyError: 1"}\n',
            "A task has ended: KeyError: 1",
            id="exception",
        ),
        pytest.param('{"level": "INFO", "message": "request"}\n', "The log holds no reason.", id="nothing"),
    ],
)
def test_the_reason_is_what_the_log_complains_about(service: WebService, log: str, reason: str) -> None:
    service.log.write_text(log, encoding="utf-8")
    assert service.reason() == reason


def test_of_a_large_log_only_the_end_is_read(service: WebService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "END_BYTES", 20)
    service.log.write_text("web: this is too far back\nweb: the end\n", encoding="utf-8")
    assert service.reason() == "r back\nweb: the end"


def test_a_log_that_has_become_too_large_begins_anew_while_it_is_written(
    service: WebService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "LOG_BYTES", 10)
    with service.log.open("a", encoding="utf-8") as log:
        log.write("web: long\n")
        log.flush()
        service.keep_log_short()
        assert service.reason() == "web: long"
        log.write("and longer\n")
        log.flush()
        service.keep_log_short()
        log.write("new\n")
    assert service.log.read_text(encoding="utf-8") == "new\n"
    assert (service.log.parent / "web.log.1").read_text(encoding="utf-8") == "web: long\nand longer\n"
    assert service.reason() == "new"


def test_a_log_that_cannot_be_kept_on_a_full_disk_makes_room_with_the_one_before(
    service: WebService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(services, "LOG_BYTES", 0)
    monkeypatch.setattr(shutil, "copyfile", full)
    before = service.log.parent / "web.log.1"
    before.touch()
    service.log.write_text("web: long\n", encoding="utf-8")
    service.keep_log_short()
    assert not before.exists()
    assert service.reason() == "web: long"


def test_a_service_that_ends_at_once_stops_the_start_with_its_reason(service: WebService) -> None:
    service.log.write_text("web: MARSERVE_API_KEYS_FILE=/nowhere cannot be read\n", encoding="utf-8")
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"]) as process:
        process.wait()
        with pytest.raises(MarserveError, match="ended at once:\n  web: MARSERVE_API_KEYS_FILE"):
            service.wait_until_ready(process)


def test_a_service_that_never_is_ready_stops_the_start(service: WebService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "deadline_s", 0.3)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with pytest.raises(MarserveError, match="was not ready"):
            service.wait_until_ready(process)
        process.terminate()
