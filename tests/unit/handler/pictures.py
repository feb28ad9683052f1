"""Synthetic pictures in every format and variant that is read, each made with what it must be decoded to."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

SIDE = 64
#: Where each of the seven passes of an interlaced PNG begins (x, y), and its steps (PNG specification, 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
#: PNG's color types, by channels.
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


@dataclass(frozen=True)
class Sample:
    """A file, and the RGB picture it holds."""

    content: bytes
    expected: NDArray[np.uint8]
    #: The largest mean difference of a lossy format; 0 means equal to the bit.
    tolerance: float = 0.0


def picture(width: int, height: int) -> Image.Image:
    """An RGB picture with no symmetry: gradients, a little noise, and a dark corner at the top left."""
    y, x = np.mgrid[0:height, 0:width]
    channels = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], axis=-1)
    pixels = channels + np.random.default_rng(0).normal(0, 8, (height, width, 1))
    pixels[: height // 4, : width // 4] = 10
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(pixels: NDArray[Any], *, interlaced: bool = False, before: bytes = b"", after: bytes = b"") -> bytes:
    """Kinds of PNG that Pillow does not write: ``pixels`` are uint8 or uint16, grey or RGB, with alpha or without.

    ``before`` and ``after`` are chunks around the pixels.
    """
    height, width = pixels.shape[:2]
    stored = pixels.astype(pixels.dtype.newbyteorder(">"))
    passes = [stored[y::down, x::right] for x, y, right, down in _ADAM7] if interlaced else [stored]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    color_type = _COLOR_TYPES[pixels.shape[2] if pixels.ndim == 3 else 1]
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, color_type, 0, 0, interlaced)
    chunks = png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", zlib.compress(rows)) + after
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b"")


def tiff(
    pixels: NDArray[Any],
    *,
    photometric: int = 1,
    sample_format: int = 1,
    orientation: int = 1,
    planar: bool = False,
    deflate: bool = False,
    bits: int | None = None,
    tags: tuple[tuple[int, int], ...] = (),
) -> bytes:
    """A TIFF in the byte order of ``pixels``, of kinds that Pillow does not write.

    ``bits`` are those of a sample where ``pixels`` are rows of packed bytes; ``tags`` are further ones, of one SHORT.
    """
    order = ">" if pixels.dtype.str[0] == ">" else "<"
    height, width = pixels.shape[:2]
    if bits is not None:
        width = width * 8 // bits
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    planes = np.moveaxis(pixels, -1, 0) if planar else [pixels]
    strips = [zlib.compress(plane.tobytes()) if deflate else plane.tobytes() for plane in planes]
    entries: dict[int, tuple[int, list[int]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits or 8 * pixels.itemsize] * samples),
        259: (3, [8 if deflate else 1]),
        262: (3, [photometric]),
        273: (4, [0] * len(strips)),
        274: (3, [orientation]),
        277: (3, [samples]),
        278: (4, [height]),
        279: (4, list(map(len, strips))),
        284: (3, [2 if planar else 1]),
        339: (3, [sample_format]),
    }
    entries |= {tag: (3, [value]) for tag, value in tags}
    end = 8 + 2 + 12 * len(entries) + 4
    start = end + sum(4 * len(values) for _, values in entries.values())
    entries[273] = (4, [start + sum(map(len, strips[:index])) for index in range(len(strips))])
    directory, apart = b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:  # what does not fit into the entry is stored apart
            apart, packed = apart + packed, struct.pack(f"{order}I", end + len(apart))
        directory += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    magic = b"MM\0*" if order == ">" else b"II*\0"
    header = magic + struct.pack(f"{order}IH", 8, len(entries)) + directory + bytes(4)
    return (header + apart).ljust(start, b"\0") + b"".join(strips)


def inverted_ycck_jpeg(image: Image.Image) -> bytes:
    """What Photoshop saves: the inks of CMYK inverted, and stored as YCbCr and black."""
    luma_chroma = ImageChops.invert(image).convert("YCbCr")
    # Pillow inverts CMYK when it writes, and marks it as CMYK; both are undone here.
    planes = [ImageChops.invert(plane) for plane in luma_chroma.split()]
    content = encode(Image.merge("CMYK", [*planes, Image.new("L", image.size, 0)]), "JPEG", quality=95, subsampling=0)
    transform = content.index(b"\xff\xee\x00\x0eAdobe") + 15
    return content[:transform] + b"\x02" + content[transform + 1 :]


def samples() -> dict[str, Sample]:
    """Each holds ``picture(SIDE, SIDE)``, or what its format can keep of it."""
    rgb = picture(SIDE, SIDE)
    pixels = np.asarray(rgb)
    grey = rgb.convert("L")
    grey_pixels = np.asarray(grey)
    grey_rgb = np.asarray(grey.convert("RGB"))
    second = Image.new("RGB", rgb.size, "red")  # another frame or page, which must not show
    black_white = rgb.convert("1")
    palette = rgb.quantize(64)
    palette_rgb = np.asarray(palette.convert("RGB"))
    transparent_index = palette.getpixel((SIDE - 1, SIDE - 1))
    hole = np.asarray(palette) == transparent_index
    palette_on_white = np.where(hole[..., None], 255, palette_rgb).astype(np.uint8)
    translucent = rgb.copy()
    translucent.putalpha(grey)
    alpha = grey_pixels[..., None] / 255
    on_white = np.rint(pixels * alpha + 255 * (1 - alpha)).astype(np.uint8)
    grey_alpha = Image.merge("LA", (grey, grey))
    grey_on_white = np.rint(grey_rgb * alpha + 255 * (1 - alpha)).astype(np.uint8)
    # Rounding may differ by one step where colors are blended.
    blended = 0.5
    lossy = 3.0
    deep = pixels.astype(np.uint16) * 257
    deep_grey = grey_pixels.astype(np.uint16) * 257
    cmyk = rgb.convert("CMYK")
    cmyk_rgb = np.asarray(cmyk.convert("RGB"))
    transparent_color = png_chunk(b"tRNS", struct.pack(">3H", *pixels[-1, -1].tolist()))
    color_on_white = np.where((pixels == pixels[-1, -1]).all(axis=-1, keepdims=True), 255, pixels).astype(np.uint8)
    grey_level = int(deep_grey[-1, -1])
    grey_level_on_white = np.where(deep_grey[..., None] == grey_level, 255, grey_rgb).astype(np.uint8)
    return {
        "jpeg": Sample(encode(rgb, "JPEG", quality=95), pixels, lossy),
        "jpeg progressive": Sample(encode(rgb, "JPEG", quality=95, progressive=True), pixels, lossy),
        "jpeg grey": Sample(encode(grey, "JPEG", quality=95), grey_rgb, lossy),
        "jpeg cmyk": Sample(encode(cmyk, "JPEG", quality=95), cmyk_rgb, lossy),
        "jpeg inverted ycck": Sample(inverted_ycck_jpeg(rgb), pixels, lossy),
        "mpo": Sample(encode(rgb, "MPO", save_all=True, append_images=[second.copy()], quality=95), pixels, lossy),
        "png": Sample(encode(rgb, "PNG"), pixels),
        "png interlaced": Sample(png(pixels, interlaced=True), pixels),
        "png grey": Sample(encode(grey, "PNG"), grey_rgb),
        "png 1 bit": Sample(encode(black_white, "PNG"), np.asarray(black_white.convert("RGB"))),
        "png palette": Sample(encode(palette, "PNG"), palette_rgb),
        "png transparent palette": Sample(encode(palette, "PNG", transparency=transparent_index), palette_on_white),
        "png transparent color": Sample(png(pixels, before=transparent_color), color_on_white),
        "png alpha": Sample(encode(translucent, "PNG"), on_white, blended),
        "png grey alpha": Sample(encode(grey_alpha, "PNG"), grey_on_white, blended),
        "png 16 bit grey": Sample(png(deep_grey), grey_rgb),
        "png 16 bit grey transparent": Sample(
            png(deep_grey, before=png_chunk(b"tRNS", struct.pack(">H", grey_level))), grey_level_on_white
        ),
        "png 16 bit": Sample(png(deep), pixels),
        "png animated": Sample(encode(rgb, "PNG", save_all=True, append_images=[second.copy()]), pixels),
        "webp": Sample(encode(rgb, "WEBP", quality=95), pixels, lossy),
        "webp lossless": Sample(encode(rgb, "WEBP", lossless=True), pixels),
        "webp alpha": Sample(encode(translucent, "WEBP", lossless=True, exact=True), on_white, blended),
        "webp animated": Sample(
            encode(rgb, "WEBP", lossless=True, save_all=True, append_images=[second.copy()]), pixels
        ),
        "gif": Sample(encode(palette, "GIF"), palette_rgb),
        "gif grey": Sample(encode(grey, "GIF"), grey_rgb),
        "gif transparent": Sample(encode(palette, "GIF", transparency=transparent_index), palette_on_white),
        "gif animated": Sample(
            encode(palette, "GIF", save_all=True, append_images=[second.copy()], disposal=2), palette_rgb
        ),
        "bmp": Sample(encode(rgb, "BMP"), pixels),
        "bmp palette": Sample(encode(palette, "BMP"), palette_rgb),
        "bmp 1 bit": Sample(encode(black_white, "BMP"), np.asarray(black_white.convert("RGB"))),
        "tiff": Sample(encode(rgb, "TIFF"), pixels),
        "tiff lzw": Sample(encode(rgb, "TIFF", compression="tiff_lzw"), pixels),
        "tiff deflate": Sample(encode(rgb, "TIFF", compression="tiff_adobe_deflate"), pixels),
        "tiff packbits": Sample(encode(rgb, "TIFF", compression="packbits"), pixels),
        "tiff jpeg": Sample(encode(rgb, "TIFF", compression="jpeg", quality=95), pixels, lossy),
        "tiff fax": Sample(encode(black_white, "TIFF", compression="group4"), np.asarray(black_white.convert("RGB"))),
        "tiff alpha": Sample(encode(translucent, "TIFF"), on_white, blended),
        "tiff cmyk": Sample(encode(cmyk, "TIFF", compression="tiff_lzw"), cmyk_rgb),
        "tiff lab": Sample(encode(rgb.convert("LAB"), "TIFF"), pixels, lossy),
        "tiff 16 bit": Sample(tiff(deep, photometric=2), pixels),
        "tiff 16 bit grey": Sample(tiff(deep_grey), grey_rgb),
        "tiff 16 bit grey big-endian": Sample(tiff(deep_grey.astype(">u2")), grey_rgb),
        "tiff 32 bit": Sample(tiff(grey_pixels.astype("<i4") * 257, sample_format=2), grey_rgb),
        "tiff float": Sample(tiff((grey_pixels / 255).astype("<f4"), sample_format=3), grey_rgb),
        "tiff float big-endian": Sample(tiff(grey_pixels.astype(">f4"), sample_format=3), grey_rgb),
        "tiff pages": Sample(encode(rgb, "TIFF", save_all=True, append_images=[second.copy()]), pixels),
        "avif": Sample(encode(rgb, "AVIF", quality=95), pixels, lossy),
        "avif alpha": Sample(encode(translucent, "AVIF", quality=95), on_white, lossy),
    }
