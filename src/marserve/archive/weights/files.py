"""Weights files: which one was chosen, and what it is, by its first bytes."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import zipfile
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Literal

from marserve.handler.resnet18.errors import ConfigurationError

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


#: ``pickle`` is torch.save's format before PyTorch 1.6; ``index`` names the safetensors files that hold the tensors.
Format = Literal["zip", "pickle", "safetensors", "index"]


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


#: What other tools write, by how it begins.
_OF_OTHER_TOOLS = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file it stands for: run git lfs pull"),
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes them, and not PyTorch's"),
    (b"....TFL3", "is a TensorFlow Lite model, and not PyTorch's"),
    (b"GGUF", "is a GGUF file, and not PyTorch's"),
    (b"\x93NUMPY", "is a single numpy array"),
    (b"\x08.[\x12\x1a:B]", "is an ONNX model: give the weights that it was exported from"),
    (b"\x1f\x8b|BZh|\xfd7zXZ|[(]\xb5/\xfd|7z\xbc\xaf|Rar!|.{257}ustar", "is compressed or packed: unpack it first"),
    (rb"<\?xml.*<net ", "is an OpenVINO model, and not PyTorch's"),
)  # fmt: skip
#: Likewise by the name of a file in a zip archive.
_ZIPS_OF_OTHER_TOOLS = {
    "constants.pkl": "is a TorchScript program: save the state dict of the model that it was made from",
    "MANIFEST.json": "is a zip archive that torch.save did not write: a TorchServe archive, which --archive serves",
    "model.weights.h5": "is a Keras model, and not PyTorch's",
}


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
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path)
        return "zip"
    if head.startswith(b"\x80"):
        return "pickle"
    if head[8:9] == b"{":
        return "safetensors"
    if head.lstrip().startswith(b"{") and path.name.endswith(".index.json"):
        return "index"
    for beginning, found in _OF_OTHER_TOOLS:
        if re.match(beginning, head, re.DOTALL):
            raise WeightsError.of_file(path, found)
    raise WeightsError.of_file(path, f"is in no known format; it begins with {head[:16]!r}")


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as exc:
        found = "is truncated or damaged: it begins like a file of torch.save, and its end is missing or broken"
        raise WeightsError.of_file(path, found) from exc
    for name, found in _ZIPS_OF_OTHER_TOOLS.items():
        if name in names:
            raise WeightsError.of_file(path, found)
    if "data.pkl" not in names:
        raise WeightsError.of_file(path, "is a zip archive that torch.save did not write")


def shards_of(index: Path) -> list[Path]:
    """The files beside ``index``, a ``model.safetensors.index.json``, that hold its tensors. Raises WeightsError."""
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
        return [index.with_name(Path(name).name) for name in sorted(names)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise WeightsError.of_file(index, "is no index of safetensors files") from exc


def content_sha256(path: Path) -> str:
    """The SHA-256 of a weights file; of an index, over it and all files that it names."""
    if recognise(path) != "index":
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in (path, *shards_of(path)):
        digest.update(sha256_of(file).encode())
    return digest.hexdigest()


#: In the order in which they are preferred; a training run leaves others beside them, such as its optimizer's.
_IN_FOLDERS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
_ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".pth.tar")


def file_in(path: Path) -> Path:
    """The weights file that ``path`` stands for: itself, or the one in a folder. Raises WeightsError."""
    if not path.is_dir():
        return path
    try:
        names = sorted(file.name for file in path.iterdir())
    except OSError as exc:
        raise WeightsError.of_file(path, f"cannot be read ({exc.strerror})") from exc
    expected = f"a folder with {_IN_FOLDERS[0]}, or a file"
    if ".metadata" in names:
        found = "is a sharded checkpoint of torch.distributed: python -m torch.distributed.checkpoint.format_utils "
        raise WeightsError.of_file(path, f"{found}dcp_to_torch makes a file of it", expected)
    if "saved_model.pb" in names:
        raise WeightsError.of_file(path, "is a TensorFlow model, and not PyTorch's", expected)
    known = [name for name in _IN_FOLDERS if name in names] or [name for name in names if name.endswith(_ENDINGS)]
    if not known:
        raise WeightsError.of_file(path, "is a directory without weights", expected)
    if len(known) > 1 and known[0] not in _IN_FOLDERS:
        raise WeightsError.of_file(path, f"is a directory with several: {', '.join(known[:5])}", "one of these files")
    return path / known[0]
