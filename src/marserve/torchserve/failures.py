"""Why TorchServe or a worker failed, in its own words, out of its logs."""

from __future__ import annotations

import re
from pathlib import Path

#: ``2026-11-24T15:25:00,431 [INFO ] W-9000-resnet18_1.0-stdout MODEL_LOG - text``; anything else continues a message.
_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\S+ \[(?P<level>\w+) *\] (?P<thread>\S+) (?P<logger>\S+) - ?(?P<text>.*)$")
_TRACEBACK = "Traceback (most recent call last):"
#: What a worker's first line and TorchServe's own remarks about a lost worker begin with.
_WORKER_BEGINS = "s_name_part0="
_WORKER_LOST = re.compile(r"^(Retry worker: |Backend worker process died)")
_LOAD_FAILED = "Failed to load model: "
#: What Java prints by itself, before TorchServe's own logs begin.
CONSOLE_LOG = "console.log"
#: Lines that are no reason: Java's stack frames, its own warnings, and what TorchServe prints at every start (it finds
#: fault with a model-config.yaml that leaves the worker count to default_workers_per_model).
_NOISE = re.compile(
    r"\s+at |\s*\.\.\. \d+ more|WARNING: |(nvidia|xpu)-smi not available|Model server started\.|"
    r"Invalid model config in mar, "
)
_NO_REASON = "The logs hold no reason."
#: Lines of an error that is no Python exception.
LINES = 5


def worker_was_lost(logs: Path) -> bool:
    """Whether a worker ended by itself since TorchServe was started."""
    lines = [*_lines(logs / "model_log.log"), *_lines(logs / "ts_log.log")]
    return any(_WORKER_LOST.match(text) for _, _, text in lines)


def model_was_refused(logs: Path) -> bool:
    """Whether TorchServe could not even unpack one of the archives."""
    return any(text.startswith(_LOAD_FAILED) for _, _, text in _lines(logs / "ts_log.log"))


def worker_reason(logs: Path) -> str:
    """Why no worker works: its exception, else its error output, else TorchServe's own errors."""
    model_log = _lines(logs / "model_log.log")
    found = _exception(model_log) or _worker_errors(model_log) or _server_errors(logs) or [_NO_REASON]
    return "\n".join(found)


def server_reason(logs: Path) -> str:
    """Why the Java process ended: what it printed, else the last errors in its log."""
    return "\n".join(_console(logs) or _server_errors(logs) or [_NO_REASON])


def _lines(file: Path) -> list[tuple[str, str, str]]:
    """Level, thread and text of each line; lines without a head have those of the line before."""
    try:
        content = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines, level, thread = [], "", ""
    for line in content.splitlines():
        match = _LINE.match(line)
        if match:
            level, thread, text = match["level"], match["thread"], match["text"]
        else:
            text = line
        lines.append((level, thread, text))
    return lines


def _exception(lines: list[tuple[str, str, str]]) -> list[str]:
    """The exception at the end of the last traceback: what stands after its frames, which are indented."""
    starts = [i for i, (_, _, text) in enumerate(lines) if text == _TRACEBACK]
    if not starts:
        return []
    thread = lines[starts[-1]][1]
    # Workers write at the same time; each has a thread of its own.
    after = [text for _, at, text in lines[starts[-1] + 1 :] if at == thread]
    message: list[str] = []
    for text in after:
        if text.startswith(_WORKER_BEGINS):
            break
        if message or (text and not text[0].isspace()):
            message.append(text)
    return message[: 4 * LINES]


def _worker_errors(lines: list[tuple[str, str, str]]) -> list[str]:
    return [text for _, thread, text in lines if thread.endswith("-stderr") and text][-LINES:]


def _server_errors(logs: Path) -> list[str]:
    lines = _lines(logs / "ts_log.log")
    return [text for level, _, text in lines if level in ("ERROR", "WARN") and text and not _NOISE.match(text)][-LINES:]


def _console(logs: Path) -> list[str]:
    return [text for _, _, text in _lines(logs / CONSOLE_LOG) if text and not _NOISE.match(text)][-LINES:]
