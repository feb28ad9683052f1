"""The stack that most of these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.serving import SERVE, SharedStack, Stack, shared_stack


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest) -> Iterator[SharedStack]:
    """ResNet18 with seeded weights and EfficientNet-Lite0 with ImageNet's, in f32, behind the real servers."""
    with shared_stack(request, *SERVE) as shared:
        yield shared


@pytest.fixture
def served(shared: SharedStack) -> Stack:
    """The shared stack as it was started."""
    return shared.as_started()
