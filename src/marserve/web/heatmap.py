"""A class activation map as a picture to lay over the photograph."""

from __future__ import annotations

from collections.abc import Sequence

from marserve.web.png import encode_png

#: Pixels of each side: what the network saw.
SIDE = 224
#: Opacity (0 to 255) where the map is 1; where it is 0 the picture is transparent.
MAX_ALPHA = 200
#: From weak to strong: blue, cyan, yellow, red.
STOPS = ((40, 60, 220), (30, 190, 220), (250, 220, 60), (230, 40, 30))


def _colour(level: int) -> bytes:
    position = level / 255 * (len(STOPS) - 1)
    lower = min(int(position), len(STOPS) - 2)
    share = position - lower
    colour = [round(a + (b - a) * share) for a, b in zip(STOPS[lower], STOPS[lower + 1], strict=True)]
    return bytes([*colour, round(MAX_ALPHA * level / 255)])


PALETTE = [_colour(level) for level in range(256)]


def render_heatmap(strengths: Sequence[Sequence[float]]) -> bytes:
    """A PNG of SIDE x SIDE pixels, RGBA, from rows of values 0 to 1, interpolated bilinearly between cell centres."""
    levels = [[min(max(value, 0.0), 1.0) * 255 for value in row] for row in strengths]
    across, down = _positions(len(levels[0])), _positions(len(levels))
    wide = [_stretch(row, across) for row in levels]
    columns = [_stretch(column, down) for column in zip(*wide, strict=True)]
    pixels = b"".join([PALETTE[int(value + 0.5)] for row in zip(*columns, strict=True) for value in row])
    return encode_png(SIDE, SIDE, pixels)


def _positions(cells: int) -> list[tuple[int, int, float]]:
    """For each pixel: the cells before and after it, and how far it is from the one to the other.

    Cells keep their extent; outside the outermost centres the value is constant.
    """
    positions = []
    for pixel in range(SIDE):
        position = min(max((pixel + 0.5) * cells / SIDE - 0.5, 0.0), cells - 1.0)
        before = int(position)
        positions.append((before, min(before + 1, cells - 1), position - before))
    return positions


def _stretch(values: Sequence[float], positions: Sequence[tuple[int, int, float]]) -> list[float]:
    return [values[before] + (values[after] - values[before]) * share for before, after, share in positions]
