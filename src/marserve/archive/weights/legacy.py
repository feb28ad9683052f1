"""Names that parameters had in older versions of torchvision, in which some official files are still published."""

from __future__ import annotations

import re

_RENAMED = (
    # DenseNet: a module's name could contain a dot.
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)"), r"\1\2"),
    # Vision Transformer: the layers of a block's MLP are numbered by their place.
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_2\."), r"\1.3."),
)


def current_name(name: str) -> str:
    """The name that a parameter called ``name`` has today."""
    for old, new in _RENAMED:
        name = old.sub(new, name)
    return name
