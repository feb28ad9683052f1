"""What an archive says about itself, read with care: anybody may have made it."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from marserve.errors import MarserveError

#: Bytes of a file with text in an archive; a description has some thousand.
MAX_TEXT_BYTES = 1 << 24
#: How much larger than the archive that which TorchServe unpacks may be: networks are hardly compressible.
MAX_RATIO = 100
SMALL_BYTES = 1 << 28


class ArchiveError(MarserveError):
    """A file that is no archive, or lacks what is looked for; the message continues a sentence about it."""


def read_text(archive: Path, name: str) -> bytes:
    """The file called ``name`` in ``archive``, as TorchServe would unpack it. Raises ArchiveError."""
    try:
        with zipfile.ZipFile(archive) as mar:
            _check(mar, archive.stat().st_size)
            with mar.open(name) as content:
                text = content.read(MAX_TEXT_BYTES + 1)
    except KeyError as exc:
        raise ArchiveError(f"has no {name}") from exc
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, RuntimeError, EOFError) as exc:
        raise ArchiveError(f"is damaged or no archive ({_words(exc)})") from exc
    except Exception as exc:
        # Python may lack the module whose error this is, and then has no such files either.
        if type(exc).__name__ != "LZMAError":
            raise
        raise ArchiveError(f"is damaged or no archive ({_words(exc)})") from exc
    if len(text) > MAX_TEXT_BYTES:
        raise ArchiveError(f"has a {name} of more than {MAX_TEXT_BYTES:,} bytes")
    return text


def read_json(archive: Path, name: str) -> Any:
    """The JSON in that file. Raises ArchiveError."""
    try:
        return json.loads(read_text(archive, name))
    except (ValueError, RecursionError) as exc:
        raise ArchiveError(f"has a {name} that is no JSON ({_words(exc)})") from exc


def _check(mar: zipfile.ZipFile, size: int) -> None:
    """Refuse what two programs would unpack differently, or to another place, or without an end."""
    members = mar.infolist()
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise ArchiveError("holds two files of one name")
    if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name for name in names):
        raise ArchiveError("holds a file that would be unpacked elsewhere")
    unpacked = sum(member.file_size for member in members)
    if unpacked > SMALL_BYTES and unpacked > MAX_RATIO * size:
        raise ArchiveError(f"would be unpacked to {unpacked:,} bytes")


def _words(exc: Exception) -> str:
    text = str(exc).partition("\n")[0]
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]
