"""Every format and variant becomes the RGB picture it shows."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from tests.support import REPOSITORY
from tests.unit.handler.pictures import SIDE, Sample, picture, png, png_chunk, samples, tiff

SAMPLES = samples()
LIMITS = ImageLimits(max_image_bytes=1_000_000, max_image_pixels=1_000_000)
#: Nothing is left to resize or cut off, so that what was decoded can be seen.
WHOLE = Preprocessing(resize_size=SIDE, crop_size=SIDE)


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_every_format_is_decoded_to_what_it_shows(sample: Sample, mode: Literal["fast", "exact"]) -> None:
    decoded = ImageDecoder(WHOLE, LIMITS, mode).decode(sample.content).pixels

    assert np.abs(decoded.astype(int) - sample.expected).mean() <= sample.tolerance


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_result_is_a_contiguous_array_of_its_own(kind: type, mode: Literal["fast", "exact"]) -> None:
    decoder = ImageDecoder(Preprocessing(resize_size=40, crop_size=32), LIMITS, mode)

    decoded = decoder.decode(kind(SAMPLES["png"].content)).pixels

    assert decoded.shape == (32, 32, 3)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([0.0, 257.0, 65535.0], [0, 1, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([-3e38, 0.0, 3e38], [0, 128, 255]),
        ([-7.0, -7.0, -7.0], [0, 0, 0]),
    ],
    ids=["0 to 1", "0 to 255", "0 to 65535", "negative", "huge", "constant"],
)
def test_floating_point_pictures_are_scaled_to_their_range(values: list[float], expected: list[int]) -> None:
    pixels = np.tile(np.array(values, dtype="<f4"), (3, 1))

    decoded = (
        ImageDecoder(Preprocessing(resize_size=3, crop_size=3), LIMITS).decode(tiff(pixels, sample_format=3)).pixels
    )

    assert decoded[0, :, 0].tolist() == expected


def test_text_that_is_named_like_transparency_changes_nothing() -> None:
    # Pillow keeps a PNG's texts in the same place as the transparency that it has read.
    pixels = np.asarray(picture(SIDE, SIDE))
    content = png(pixels, before=png_chunk(b"tEXt", b"transparency\x00anything"))

    assert np.array_equal(ImageDecoder(WHOLE, LIMITS).decode(content).pixels, pixels)


def test_odd_metadata_warns_nobody(recwarn: pytest.WarningsRecorder) -> None:
    pixels = np.asarray(picture(SIDE, SIDE))
    content = png(pixels, before=png_chunk(b"acTL", bytes(8)))  # an animation of no frames

    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(io.BytesIO(content))
    recwarn.clear()
    decoded = ImageDecoder(WHOLE, LIMITS).decode(content).pixels

    assert np.array_equal(decoded, pixels)
    assert not recwarn.list


def test_decoding_loads_neither_torchvision_nor_other_plugins_of_pillow(tmp_path: Path) -> None:
    content = tmp_path / "picture.webp"
    content.write_bytes(SAMPLES["webp"].content)
    script = (
        "import json, pathlib, sys\n"
        "from resnet18.description import Preprocessing\n"
        "from resnet18.images import ImageDecoder, ImageLimits\n"
        "decoder = ImageDecoder(Preprocessing(), ImageLimits(10**6, 10**6))\n"
        "decoder.decode(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(json.dumps(sorted(sys.modules)))"
    )

    process = subprocess.run(
        [sys.executable, "-c", script, content], cwd=REPOSITORY / "handler", capture_output=True, check=True, timeout=60
    )

    modules = json.loads(process.stdout)
    assert "PIL.WebPImagePlugin" in modules
    assert {"torch", "torchvision", "PIL.PsdImagePlugin", "PIL.EpsImagePlugin"}.isdisjoint(modules)
