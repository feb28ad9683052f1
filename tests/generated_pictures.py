"""Pictures for calibration, made of noise: no two alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(directory: Path, count: int) -> Path:
    """``directory`` with ``count`` small PNGs, equal on every call."""
    directory.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(directory / f"{number}.png")
    return directory
