"""Reports of wrong answers as files: a line each in ``reports.jsonl``, and the pictures in labelled folders.

``labelled/MODEL`` has a subfolder for each class, named by its WordNet id or else its label, as ``--calibration`` and
training programs read it; ``unlabelled/MODEL`` has pictures of none of the model's classes. Several processes may
write at once, and one that is killed leaves no half line and no half picture.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from marserve.errors import MarserveError
from marserve.system.files import locked, replacing

REPORTS_FILE = "reports.jsonl"
LABELLED = "labelled"
UNLABELLED = "unlabelled"
#: Seconds to wait for another process that writes a report, or for ``marserve feedback`` as it deletes some.
LOCK_S = 10.0
#: What a file takes from the disk at least, so that tiny ones do not become millions.
LEAST_BYTES_A_FILE = 4096
#: No line is longer.
MAX_LINE_BYTES = 65536
#: Of the 255 that a file system allows.
MAX_FOLDER_NAME_BYTES = 200

#: How the formats begin that the handler reads, for the names of the files.
SUFFIXES = (
    (re.compile(rb"\xff\xd8\xff"), ".jpg"),
    (re.compile(rb"\x89PNG"), ".png"),
    (re.compile(rb"GIF8"), ".gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), ".webp"),
    (re.compile(rb"BM"), ".bmp"),
    (re.compile(rb"II|MM"), ".tif"),
    (re.compile(rb".{4}ftypavi", re.DOTALL), ".avif"),
    (re.compile(rb".{4}ftyp", re.DOTALL), ".heic"),
)


class FeedbackFullError(MarserveError):
    """There is no room for one more report, within the limit or on the disk."""


@dataclass(frozen=True)
class ReportedClass:
    class_id: int
    wnid: str | None
    label: str
    #: That the model gave it; None where that is not known.
    probability: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """One answer that a person called wrong. Nothing in it says who that was."""

    id: str
    #: UTC, ISO 8601.
    time: str
    request_id: str
    model: str
    version: str
    weights: str
    predicted: ReportedClass
    #: None: none of the model's classes.
    right: ReportedClass | None
    #: What it is in the caller's words where it is none of the classes.
    other: str = ""
    note: str = ""
    picture_sha256: str
    picture_bytes: int
    #: Path of the picture below the folder of reports.
    picture: str

    def line(self) -> bytes:
        return (json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")) + "\n").encode()

    @classmethod
    def parse(cls, line: bytes) -> Report:
        """Raises ValueError or TypeError for what is none."""
        content = json.loads(line)
        right = content["right"] and ReportedClass(**content["right"])
        return cls(**content | {"predicted": ReportedClass(**content["predicted"]), "right": right})


def picture_path(model: str, right: ReportedClass | None, sha256: str, picture: bytes) -> str:
    """Where a picture of the class ``right`` belongs: names come from the archive and the digest, not from callers."""
    suffix = next((suffix for begins, suffix in SUFFIXES if begins.match(picture)), "")
    folder = quote(model, safe="").replace(".", "%2E", model.startswith("."))
    folder = f"{UNLABELLED}/{folder}" if right is None else f"{LABELLED}/{folder}/{class_folder(right)}"
    return f"{folder}/{sha256}{suffix}"


def class_folder(named: ReportedClass) -> str:
    """The folder of a class, by which the calibration recognizes it; its number where its name can be no folder's."""
    name = named.wnid or named.label
    is_safe = name != "" and name.isprintable() and "/" not in name and name[0] not in ". "
    return name if is_safe and len(name.encode()) <= MAX_FOLDER_NAME_BYTES else f"class-{named.class_id}"


class Feedback:
    """The folder of reports. Its methods block, and raise OSError where something else than room is missing."""

    def __init__(self, folder: Path, max_bytes: int = 0) -> None:
        """``max_bytes``: of all files together, beyond which nothing is added."""
        self.folder = folder
        self._max_bytes = max_bytes
        #: What all files took when ``reports.jsonl`` was this one, of this size.
        self._known: tuple[tuple[int, int], int] | None = None

    def add(self, report: Report, picture: bytes) -> None:
        """Keep one report. Raises FeedbackFullError, or MarserveError where others hold the folder for too long."""
        try:
            self._add(report, report.line(), picture)
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise FeedbackFullError("The disk is full.") from exc
            raise

    def read(self) -> list[Report]:
        """All reports, oldest first; lines that are none are left out."""
        reports = []
        with suppress(FileNotFoundError):
            for line in (self.folder / REPORTS_FILE).read_bytes().splitlines():
                with suppress(ValueError, TypeError, KeyError):
                    reports.append(Report.parse(line))
        return reports

    def delete(self, is_unwanted: Callable[[Report], bool]) -> int:
        """Remove reports, and the pictures that no other report is about; answers how many reports those were.

        With the last report everything goes, pictures included whose process was killed before their report was there.
        """
        with self._held():
            reports = self.read()
            kept = [report for report in reports if not is_unwanted(report)]
            with replacing(self.folder / REPORTS_FILE, mode=0o600) as file:
                for report in kept:
                    file.write(report.line())
            wanted = {report.picture for report in kept}
            for report in reports:
                if report.picture not in wanted:
                    (self.folder / report.picture).unlink(missing_ok=True)
                    with suppress(OSError):  # others are in it
                        (self.folder / report.picture).parent.rmdir()
            for top in (LABELLED, UNLABELLED) if not kept else ():
                shutil.rmtree(self.folder / top, ignore_errors=True)
        return len(reports) - len(kept)

    def _add(self, report: Report, line: bytes, picture: bytes) -> None:
        with self._held(), self._reports() as descriptor:
            _mend(descriptor)
            used = self._used(descriptor)
            path = self.folder / report.picture
            added = len(line) + (0 if path.exists() else max(len(picture), LEAST_BYTES_A_FILE))
            if used + added > self._max_bytes:
                raise FeedbackFullError("All files together would have more bytes than the limit.")
            # First the picture: a line always has one.
            if not path.exists():
                self._make_folder(path.parent)
                with replacing(path, mode=0o600) as file:
                    file.write(picture)
            _append(descriptor, line)
            self._known = (_identity(descriptor), used + added)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Keep other processes from changing anything."""
        self._make_folder(self.folder)
        lock = self.folder / ".lock"
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600))
        with locked(lock, timeout_s=LOCK_S):
            yield

    @contextmanager
    def _reports(self) -> Iterator[int]:
        descriptor = os.open(self.folder / REPORTS_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _make_folder(self, path: Path) -> None:
        """Only for this user; a folder that is there keeps its permissions."""
        missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)

    def _used(self, descriptor: int) -> int:
        """Bytes of all files; counted again where another process, or a person, has added or removed reports."""
        identity = _identity(descriptor)
        if self._known is None or self._known[0] != identity:
            used = 0
            for directory, _, files in os.walk(self.folder):
                for path in (Path(directory, name) for name in files):
                    if Path(directory) != self.folder and path.name.startswith("."):
                        path.unlink(missing_ok=True)  # what a killed process had begun to write
                    else:
                        used += max(path.stat().st_size, LEAST_BYTES_A_FILE)
            self._known = (identity, used)
        return self._known[1]


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_ino, status.st_size


def _append(descriptor: int, line: bytes) -> None:
    """In one write, which is on the disk at the end; a part of a line that the disk took is taken back."""
    size = os.fstat(descriptor).st_size
    written = 0
    try:
        written = os.write(descriptor, line)
        if written == len(line):
            os.fsync(descriptor)
            return
    except OSError:
        os.ftruncate(descriptor, size)
        raise
    os.ftruncate(descriptor, size)
    raise OSError(errno.ENOSPC, f"Of {len(line)} bytes the disk took {written}")


def _mend(descriptor: int) -> None:
    """Take back the part of a line that a crash of the machine left at the end."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, MAX_LINE_BYTES, max(0, size - MAX_LINE_BYTES))
    if not tail.endswith(b"\n"):
        os.ftruncate(descriptor, size - len(tail) + tail.rfind(b"\n") + 1)
