"""Signs of life: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import re
import sys

import pytest

from marserve.terminal import counted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_where_there_is_no_terminal_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as many CI services set
    with counted("Reading", "pictures", interval_s=0) as show:
        show(1, 2000)
    with counted("Loading", "MB", interval_s=0) as show:
        show(0.25, None)
    with counted("Reading", "pictures", interval_s=60) as show:
        show(1, 2000)
    assert stream.getvalue() == "Reading: 1 of 2,000 pictures\nLoading: 0.2 MB\n"


def test_on_a_terminal_a_bar_is_shown_and_cleared_and_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, output = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    with counted("Reading [all]", "pictures") as show:
        show(1, 2000)
        print("a result")
        print("a failure", file=sys.stderr)
    shown = stream.getvalue()
    assert "Reading [all]" in shown
    assert "1 of 2,000 pictures" in shown
    assert "a failure" in shown
    assert shown.endswith("\x1b[2K")  # the line is cleared
    assert not re.search(r"\x1b\[[\d;]*m", shown.replace("\x1b[0m", ""))
    assert output.getvalue() == "a result\n"
