"""Weights files: which one was chosen, what its content is, and its tensors; nothing in a file is ever executed."""

from __future__ import annotations

import hashlib
import pickle
import re
import stat
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from marserve.handler.resnet18.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

#: What a weights file must be, unless a message can say something more exact.
EXPECTED_FILE = "a state dict written by torch.save(model.state_dict(), file), or a .safetensors file"


class WeightsError(ConfigurationError):
    """Weights that are refused; says what was found and what was expected."""

    def __init__(self, message: str) -> None:
        # Names and titles come from the file: none of them may steer the terminal that the message is shown on.
        super().__init__("".join(letter if letter.isprintable() else "?" for letter in message))

    @classmethod
    def of_file(cls, path: Path, found: str, expected: str = EXPECTED_FILE) -> WeightsError:
        """The refusal of the file at ``path``; ``found`` continues the sentence that its name begins."""
        return cls(f"The weights file {path} {found}. Expected: {expected}.")


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights, or with ``path`` None the seeded weights that need no file.

    ``source`` says what the weights are, not how they were reached, so that a cached and a downloaded copy give the
    same archive.
    """

    path: Path | None
    source: str
    sha256: str | None
    trained: bool


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


_HEAD_BYTES = 4096
_WEB_PAGE = re.compile(rb"(?:\s|<\?xml[^>]*>|<!--.*?-->)*<(?:!doctype\s+html|html|head)\b", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)


#: ``pickle`` is torch.save's format before PyTorch 1.6.
Format = Literal["zip", "pickle", "safetensors"]


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
        return "zip"
    if head.startswith(b"\x80"):
        return "pickle"
    if head[8:9] == b"{":
        return "safetensors"
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


#: Under these names training programs keep the state dict in a larger checkpoint.
_CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")
#: What DataParallel, torch.compile and Lightning modules put before every name.
_PREFIXES = ("module.", "_orig_mod.", "model.")
#: What the parsers of torch raise for damaged files, found by damaging files.
_DAMAGED = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in ``path``, out of its checkpoint and without the prefixes of wrappers.

    Raises WeightsError for a file that is damaged, is not weights, or wants code to be run.
    """
    content = _read_safetensors(path) if (kind := recognise(path)) == "safetensors" else _read_torch(path, kind)
    for key in _CHECKPOINT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    return _without_prefixes(_check_state_dict(path, content))


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as exc:
        raise WeightsError.of_file(path, f"is truncated or damaged ({exc})") from exc


def _read_torch(path: Path, kind: Format) -> object:
    import torch

    try:
        with warnings.catch_warnings(), path.open("rb") as opened:
            warnings.simplefilter("ignore")  # advice to programmers; the file is read or it is refused
            # A path lets torch.load map the file into memory, but one that ends in .safetensors is not read as a zip.
            mapped = kind == "zip" and path.suffix != ".safetensors"
            return torch.load(path if mapped else opened, map_location="cpu", weights_only=True, mmap=mapped)
    except _DAMAGED as exc:
        code = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", str(exc))
        if code is None:
            raise WeightsError.of_file(path, f"is truncated, damaged or no state dict ({_cause(exc)})") from exc
        found = f"holds a Python object ({code[1]}), and loading that would run code from the file"
        raise WeightsError.of_file(path, found) from exc


def _cause(exc: BaseException) -> str:
    """The first sentence of what went wrong, without torch's advice on how to load unsafely."""
    text = str(exc)
    if isinstance(exc, pickle.UnpicklingError):
        text = text.rpartition("\n\nCheck the documentation")[0].rpartition("\n\n")[2] or text
    return re.split(r"\.\s|\n", text)[0] or type(exc).__name__


def _check_state_dict(path: Path, content: object) -> Mapping[str, torch.Tensor]:
    import torch

    if not isinstance(content, Mapping):
        raise WeightsError.of_file(path, f"holds a {type(content).__name__}, not tensors by name")
    others = [
        f"{name!r} ({type(value).__name__})"
        for name, value in content.items()
        if not (isinstance(name, str) and isinstance(value, torch.Tensor))
    ]
    if others or not content:
        found = f"under {', '.join(others[:3])}" if others else "in an empty dict"
        raise WeightsError.of_file(path, f"holds something other than tensors by name: {found}")
    return cast("Mapping[str, torch.Tensor]", content)


def _without_prefixes(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return dict(tensors)
