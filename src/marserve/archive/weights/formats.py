"""What a file is, judged by its content: names say little about files that were downloaded or renamed."""

from __future__ import annotations

import re
import stat
import zipfile
from enum import Enum
from html import unescape
from pathlib import Path

from marserve.archive.weights.errors import WeightsError

_HEAD_BYTES = 4096
_WEB_PAGE = re.compile(rb"(?:\s|<\?xml[^>]*>|<!--.*?-->)*<(?:!doctype\s+html|html|head)\b", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)


class Format(Enum):
    """The formats of weights that are read."""

    TORCH = "torch.save"
    #: torch.save's format before PyTorch 1.6.
    OLD_TORCH = "torch.save, old"
    SAFETENSORS = "safetensors"


def web_page(path: Path) -> str | None:
    """``a web page`` with its title, where the file is one: what servers and log-in portals send instead of files."""
    with path.open("rb") as content:
        head = content.read(_HEAD_BYTES)
    if not _WEB_PAGE.match(head.removeprefix(b"\xef\xbb\xbf")):
        return None
    title = _TITLE.search(head)
    if title is None:
        return "a web page"
    text = " ".join(unescape(title[1].decode("utf-8", "replace")).split())
    return f'a web page titled "{text}"'


def recognise(path: Path) -> Format:
    """The format of the weights in ``path``; WeightsError, with what it is instead, where it is none of them."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise WeightsError.of_file(path, "is a directory" if path.is_dir() else "is not a regular file")
        with path.open("rb") as content:
            head = content.read(_HEAD_BYTES)
        page = web_page(path)
    except OSError as exc:
        raise WeightsError.of_file(path, f"cannot be read ({exc.strerror})") from exc
    if not head:
        raise WeightsError.of_file(path, "is empty")
    if page is not None:
        raise WeightsError.of_file(path, f"is {page}: the download went wrong")
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError.of_file(path, "is a Git LFS pointer, not the file it stands for: run git lfs pull")
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path)
        return Format.TORCH
    if head.startswith(b"\x80"):
        return Format.OLD_TORCH
    if head[8:9] == b"{":
        return Format.SAFETENSORS
    raise WeightsError.of_file(path, f"is in no known format; it begins with {head[:16]!r}")


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as exc:
        found = "is truncated or damaged: it begins like a file of torch.save, and its end is missing or broken"
        raise WeightsError.of_file(path, found) from exc
    if "constants.pkl" in names:
        raise WeightsError.of_file(path, "is a TorchScript program")
    if "data.pkl" not in names:
        raise WeightsError.of_file(path, "is a zip archive that torch.save did not write")
