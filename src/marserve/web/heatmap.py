"""A class activation map as a picture to lay over what the network saw."""

from __future__ import annotations

import io
from collections.abc import Sequence

#: Pixels of each side of a heat map: what the network saw.
HEATMAP_SIDE = 224
#: Opacity (0 to 255) where the map is 1; where it is 0 the picture is transparent.
MAX_ALPHA = 200
#: From weak to strong: blue, cyan, yellow, red.
STOPS = ((40, 60, 220), (30, 190, 220), (250, 220, 60), (230, 40, 30))


def render_heatmap(strengths: Sequence[Sequence[float]]) -> bytes:
    """A PNG to lay over the crop, RGBA, from rows of values 0 to 1, interpolated bilinearly between cell centres."""
    from PIL import Image  # not at start-up: the service decodes no picture, and few want this one

    cells = Image.new("F", (len(strengths[0]), len(strengths)))
    cells.putdata([min(max(value, 0.0), 1.0) * 255 for row in strengths for value in row])
    # Half a step, because the conversion to bytes cuts off.
    levels = (
        cells.resize((HEATMAP_SIDE, HEATMAP_SIDE), Image.Resampling.BILINEAR)
        .point(lambda level: level * 1 + 0.5)
        .convert("L")
    )
    bands = [levels.point(table) for table in zip(*map(_color, range(256)), strict=True)]
    stream = io.BytesIO()
    Image.merge("RGBA", bands).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _color(level: int) -> list[int]:
    """Red, green, blue and opacity of a ``level`` of 0 to 255."""
    position = level / 255 * (len(STOPS) - 1)
    lower = min(int(position), len(STOPS) - 2)
    share = position - lower
    color = [round(a + (b - a) * share) for a, b in zip(STOPS[lower], STOPS[lower + 1], strict=True)]
    return [*color, round(MAX_ALPHA * level / 255)]
