"""A stand-in for PyTorch in workers that never compute with it.

TorchServe's worker imports torch for a single ``isinstance``, which answers that are bytes never reach. That import
takes most of a worker's memory and of its start-up time (docs/design.md has the figures).
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType


class DeferredTorch(ModuleType):
    """Imports the real torch when something of it is first used."""

    def __init__(self) -> None:
        super().__init__("torch")
        # For whoever only checks whether torch is installed.
        self.__spec__ = ModuleSpec("torch", None)

    def __getattr__(self, name: str) -> object:
        withdraw()
        import torch

        return getattr(torch, name)


def install() -> None:
    """Let ``import torch`` find the stand-in from now on."""
    sys.modules.setdefault("torch", DeferredTorch())


def withdraw() -> None:
    """Let ``import torch`` import the real one again; whoever holds the stand-in can go on using it."""
    if isinstance(sys.modules.get("torch"), DeferredTorch):
        del sys.modules["torch"]
