"""The stack that most of these tests share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from _pytest.capture import CaptureManager

from marserve.stack.run_directory import remove_tree
from tests.e2e.serving import Stack, stack_on_free_ports

SERVE = ("--detach", "--weights", "untrained", "--precision", "f32")


@dataclass(frozen=True)
class ServedStack(Stack):
    """A stack that has been started with the arguments ``SERVE``."""

    #: What its start printed.
    announcement: str


@pytest.fixture(scope="session")
def served(request: pytest.FixtureRequest) -> Iterator[ServedStack]:
    """ResNet18 with seeded weights and EfficientNet-Lite0 with ImageNet's, in f32, behind the real servers."""
    stack = stack_on_free_ports()
    failed_before = request.session.testsfailed
    try:
        started = stack.run("serve", *SERVE)
        assert started.returncode == 0, f"{started.stdout}\n{started.stderr}\n{stack.logs()}"
        yield ServedStack(stack.ports, stack.environment, started.stdout)
    finally:
        logs = stack.logs()
        stopped = stack.run("stop")
        capture = request.config.pluginmanager.getplugin("capturemanager")
        if request.session.testsfailed > failed_before and isinstance(capture, CaptureManager):
            with capture.global_and_fixture_disabled():
                print(logs)
        remove_tree(stack.run_directory.path)
    assert stopped.returncode == 0, stopped.stderr
