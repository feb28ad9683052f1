"""The reason for a failed start, out of logs as TorchServe writes them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from marserve.torchserve import failures
from marserve.torchserve.failures import LogWatch
from marserve.torchserve.models import ModelVersion

AT = "2026-11-24T15:25:00,431"
STDOUT, OTHER = "W-9000-resnet18_1.0-stdout", "W-9001-resnet18_1.0-stdout"


def worker(text: str, thread: str = STDOUT) -> str:
    return f"{AT} [INFO ] {thread} MODEL_LOG - {text}\n"


EXCEPTION = (
    worker("s_name_part0=/tmp/.ts.sock, s_name_part1=9000, pid=1")
    + worker("Traceback (most recent call last):")
    + worker('  File "handler.py", line 1, in initialize')
    + worker("another worker's line", OTHER)
    + worker("resnet18.errors.ConfigurationError: handler.threads = 0 is wrong")
    + worker("  and this is its second line")
    + worker("s_name_part0=/tmp/.ts.sock, s_name_part1=9000, pid=2")
)


@pytest.mark.parametrize(
    ("model_log", "ts_log", "reason"),
    [
        pytest.param(
            EXCEPTION,
            "",
            "resnet18.errors.ConfigurationError: handler.threads = 0 is wrong\n  and this is its second line",
            id="exception",
        ),
        pytest.param(
            f"{AT} [WARN ] W-9000-resnet18_1.0-stderr MODEL_LOG - no module named torch\n",
            "",
            "no module named torch",
            id="error-output",
        ),
        pytest.param(
            "",
            f"{AT} [ERROR] main org.pytorch.serve.ModelServer - Failed to load model: resnet18.mar\n"
            "org.pytorch.serve.archive.model.InvalidModelException: bad\n\tat org.x.Y.z(Y.java:1)\n\t... 3 more\n",
            "Failed to load model: resnet18.mar\norg.pytorch.serve.archive.model.InvalidModelException: bad",
            id="server",
        ),
        pytest.param("", "", "The logs hold no reason.", id="nothing"),
    ],
)
def test_a_worker_fails_for_the_reason_in_the_log(tmp_path: Path, model_log: str, ts_log: str, reason: str) -> None:
    (tmp_path / "model_log.log").write_text(model_log)
    (tmp_path / "ts_log.log").write_text(ts_log)
    assert failures.worker_reason(tmp_path) == reason


@pytest.mark.parametrize(
    ("console", "reason"),
    [
        ("Error occurred during initialization of VM\n", "Error occurred during initialization of VM"),
        ("WARNING: sun.misc.Unsafe is deprecated\n", "The logs hold no reason."),
    ],
)
def test_java_ends_for_the_reason_that_it_printed(tmp_path: Path, console: str, reason: str) -> None:
    (tmp_path / failures.CONSOLE_LOG).write_text(console)
    assert failures.server_reason(tmp_path) == reason


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("Retry worker: 9000 in 1 seconds.", True),
        ("Backend worker process died.", True),
        ("Failed to load model: resnet18.mar, exception x", True),
        ("Loading snapshot serializer plugin...", False),
    ],
)
def test_a_start_has_failed_with_a_lost_worker_or_a_refused_archive(tmp_path: Path, text: str, failed: bool) -> None:
    (tmp_path / "ts_log.log").write_text(f"{AT} [INFO ] main org.pytorch.serve.wlm.WorkerThread - {text}\n")
    assert failures.start_has_failed(tmp_path) == failed


def test_serve_and_deploy_give_one_reason_for_one_failure(tmp_path: Path) -> None:
    version = ModelVersion("resnet18", "1.0", "resnet18.mar", ())
    watch = LogWatch(tmp_path)
    (tmp_path / "model_log.log").write_text(EXCEPTION)
    while_serving = failures.worker_reason(tmp_path)
    assert "its second line" in while_serving
    assert watch.reason(version) == textwrap.indent(while_serving, "  ")
