"""Pictures to show to the page, as Playwright takes them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from playwright.sync_api import FilePayload


def payload(name: str, content: bytes, mime_type: str = "image/png") -> FilePayload:
    return {"name": name, "mimeType": mime_type, "buffer": content}


def picture(name: str, color: tuple[int, int, int], size: tuple[int, int] = (320, 240)) -> FilePayload:
    """A plain picture, small, and different from others by its color."""
    encoded = io.BytesIO()
    Image.new("RGB", size, color).save(encoded, "PNG")
    return payload(name, encoded.getvalue())


def pictures(count: int) -> list[FilePayload]:
    return [picture(f"picture {index}.png", (200, 20 * index, 90)) for index in range(count)]


def huge_picture(name: str, side: int) -> FilePayload:
    """Noise without compression: ``3 * side**2`` bytes and a little."""
    noise = np.random.default_rng(7).integers(0, 256, (side, side, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(noise).save(encoded, "BMP")
    return payload(name, encoded.getvalue(), "image/bmp")
