"""The pixel limit, by a picture's header: what the handler would refuse does not reach TorchServe's queue."""

from __future__ import annotations

import io

import imagesize

from marserve.web.errors import ImageTooLarge


def check_pixels(picture: bytes, max_pixels: int) -> None:
    """Raise ImageTooLarge for more than ``max_pixels``; nothing is decoded.

    Where the header tells no size, the picture is left to the handler, which says what is wrong with it.
    """
    width, height = imagesize.get(io.BytesIO(picture))
    if width > 0 and height > 0 and width * height > max_pixels:
        raise ImageTooLarge(
            f"The picture has {width * height:,} pixels, more than the {max_pixels:,} allowed: send a smaller one."
        )
