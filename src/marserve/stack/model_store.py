"""A stack's model store on the disk: the archives that are deployed, and the record that names them.

Archives have names that follow from their content, so that no new one takes the place of another; what the record does
not name is nobody's. Whatever is written is on the disk before anything relies on it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from marserve.errors import MarserveError
from marserve.paths import command
from marserve.stack.deployments import FORMAT, DeployedModel, DeployedVersion, Deployments, now
from marserve.stack.run_directory import RunDirectory, remove_tree
from marserve.system.files import failure_of, locked, replace_text, replacing
from marserve.terminal import Report
from marserve.variables import variable

RECORD = "deployments.json"
#: Hexadecimal digits of an archive's SHA-256 in its name.
NAME_DIGITS = 12
#: Seconds to wait for another process that is writing, or copying an archive.
LOCK_S = 120.0
CHUNK_BYTES = 1 << 20
#: What ``replacing`` calls a file that it has not finished.
_UNFINISHED = f".*.{'[0-9a-f]' * 8}"


class LostRecordError(MarserveError):
    """What the record said is nowhere on the disk any more."""


class LostArchiveError(MarserveError):
    """Neither the archive of a model nor one to fall back to is whole."""

    def __init__(self, model: str) -> None:
        super().__init__(f"No archive of {model} is left.")
        self.model = model


class DeploymentStore:
    """The archives and the record of one stack.

    TorchServe runs as the same user, so the store is read-only but for the moments in which this writes.
    """

    def __init__(self, run_directory: RunDirectory) -> None:
        self.path = run_directory.model_store
        self._lock = run_directory.path / "deployments.lock"

    def read(self) -> Deployments | None:
        """The record; None where nothing was served yet. Raises MarserveError where it cannot be read, such as
        LostRecordError.
        """
        file = self.path / RECORD
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if content.get("format", 0) > FORMAT:
                raise MarserveError(
                    f"{file} was written by a later version of this program: use that one, or start from the options: "
                    + command("serve --discard-deployed")
                )
            # Before there was a format, a record ended with its stack.
            return Deployments.parse(content) if "format" in content else None
        except FileNotFoundError:
            return None
        except OSError as exc:
            kind = LostRecordError if exc.errno == errno.EIO else MarserveError
            raise kind(f"What is deployed cannot be read: {failure_of(exc)}") from exc
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise LostRecordError(
                f"{file} is damaged, so that nobody knows what is deployed ({str(exc)!r}). Put it back, or start from "
                f"the options: {command('serve --discard-deployed')}"
            ) from exc

    def write(self, record: Deployments) -> None:
        """Have ``record`` take the place of the one before, on the disk. Raises MarserveError."""
        with self._writable():
            self._write(record)

    def update(self, edit: Callable[[Deployments], Deployments]) -> Deployments | None:
        """Replace the record by what ``edit`` makes of it; None where there is none. Raises MarserveError."""
        with self._writable():
            before = self.read()
            if before is None:
                return None
            after = edit(before)
            if after != before:
                self._write(after)
            return after

    def add(self, archive: Path, model: str, version: str) -> DeployedVersion:
        """Copy ``archive`` into the store, where it is on the disk by the end. Raises MarserveError, also where it is
        another one than is written beside it.

        A copy, since whoever writes the next archive into the same file would change a link as well; a link where
        nothing can be written, as in an image, so that it does not take its size in memory.
        """
        try:
            sha256 = sha256_of(archive)
            check_digest(archive, sha256)
            added = DeployedVersion(version, f"{model}-{version}-{sha256[:NAME_DIGITS]}.mar", sha256, str(archive))
            with self._writable():
                if self.damage(added) is not None:
                    self._copy(archive, added)
        except OSError as exc:
            raise MarserveError(failure_of(exc)) from exc
        return added

    def describe(self, archive: str, version: str) -> DeployedVersion:
        """An archive that somebody else put here. Raises MarserveError where it is not here."""
        file = self.path / Path(archive).name
        try:
            return DeployedVersion(version, file.name, sha256_of(file), source="")
        except OSError as exc:
            raise MarserveError(f"The archive of version {version} is not in the store: {failure_of(exc)}") from exc

    def damage(self, version: DeployedVersion) -> str | None:
        """What is wrong with an archive in the store; None where it is the one that was put there.

        Raises MarserveError where that cannot be found out, for a reason that may pass.
        """
        try:
            found = sha256_of(self.path / version.archive)
        except FileNotFoundError:
            return "is missing"
        except OSError as exc:
            if exc.errno != errno.EIO:
                raise MarserveError(failure_of(exc)) from exc
            return "cannot be read from the disk"
        return None if found == version.sha256 else "is damaged: its content is another one"

    def restore(self, version: DeployedVersion) -> bool:
        """Copy the archive again from where it came; false where it is no longer there. Raises MarserveError."""
        try:
            is_there = sha256_of(Path(version.source)) == version.sha256
        except OSError:
            return False
        if is_there:
            with self._writable():
                self._copy(Path(version.source), version)
        return is_there

    def remove(self, model: str, version: str) -> None:
        """Remove the archives of ``version`` that the record does not name. Raises MarserveError."""
        own = re.compile(rf"{re.escape(f'{model}-{version}-')}[0-9a-f]{{{NAME_DIGITS}}}\.mar")
        self._remove(lambda file: own.fullmatch(file.name) is not None)

    def remove_unnamed(self) -> None:
        """Remove whatever the record does not name: nothing may be under way. Raises MarserveError."""
        self._remove(lambda _: True)

    def check(self, report: Report) -> Deployments:
        """The record, once each archive that it names is whole; ``report`` is told of each that is not.

        A damaged one is copied again from where it came; else the version before takes its place, in the record too. A
        version before that is damaged is forgotten. Raises LostArchiveError where a model has none left, MarserveError
        where there is no record or it cannot be written.
        """

        def is_whole(name: str, version: DeployedVersion) -> bool:
            problem = self.damage(version)
            if problem is None:
                return True
            restored = self.restore(version)
            outcome = f"copied again from {version.source}" if restored else "no copy of it is left"
            report(f"! {name} {version.version}: {self.path / version.archive} {problem}; {outcome}.")
            return restored

        record = self.read()
        if record is None:
            raise LostRecordError(f"There is no record of what to serve in {self.path}: start with {command('serve')}.")
        models = dict(record.models)
        for name, model in record.models.items():
            whole = [version for version in model.versions if is_whole(name, version)]
            if not whole:
                raise LostArchiveError(name)
            current, *before = whole
            if current is not model.current:
                report(f"! {name} {model.current.version} is lost: {current.version}, the one before, takes its place.")
                current = replace(current, had=None, since=now())
            elif len(whole) < len(model.versions):
                report(f"! There is no version of {name} any more that rollback could bring back.")
            models[name] = DeployedModel(current, before[0] if before else None)
        found = {name: model for name, model in models.items() if model != record.models[name]}

        def corrected(latest: Deployments) -> Deployments:
            """A command may have finished meanwhile: what it has put on record is not what was found damaged."""
            same = {name: model for name, model in found.items() if latest.models.get(name) == record.models[name]}
            return replace(latest, models={**latest.models, **same})

        return self.update(corrected) or record

    def _copy(self, source: Path, version: DeployedVersion) -> None:
        target = self.path / version.archive
        if os.statvfs(source).f_flag & os.ST_RDONLY:
            link = target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}")
            link.symlink_to(source.resolve())
            link.replace(target)
            return
        with replacing(target, mode=0o400) as copy, source.open("rb") as content:
            shutil.copyfileobj(content, copy, CHUNK_BYTES)
            copy.flush()
            if sha256_of(Path(copy.name)) != version.sha256:
                raise MarserveError(f"{source} is being written to: wait until it is whole.")

    def _write(self, record: Deployments) -> None:
        replace_text(self.path / RECORD, record.as_json())

    def _remove(self, concerns: Callable[[Path], bool]) -> None:
        record = self.read()
        named = {RECORD} | {
            version.archive for model in (record.models.values() if record else ()) for version in model.versions
        }
        with self._writable():
            for file in list(self.path.iterdir()):
                if file.name in named or not concerns(file):
                    continue
                if file.is_dir() and not file.is_symlink():
                    remove_tree(file)
                else:
                    file.unlink(missing_ok=True)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Raises MarserveError where the store cannot be written to."""
        try:
            with locked(self._lock, timeout_s=LOCK_S):
                self.path.mkdir(exist_ok=True)
                self.path.chmod(0o700)
                try:
                    for unfinished in self.path.glob(_UNFINISHED):  # by a process that was killed: nobody else writes
                        unfinished.unlink(missing_ok=True)
                    yield
                finally:
                    self.path.chmod(0o500)
        except OSError as exc:
            raise MarserveError(failure_of(exc)) from exc


def check_digest(archive: Path, sha256: str) -> None:
    """Raise MarserveError where ``NAME.mar.sha256`` beside ``archive``, as sha256sum writes it, or the variable has
    another one than ``sha256``.
    """
    beside, name = archive.with_name(f"{archive.name}.sha256"), variable("archive_sha256")
    said = {str(beside): beside.read_text(encoding="utf-8", errors="replace").split()[:1]} if beside.exists() else {}
    if listed := os.environ.get(name):
        said[name] = [one.strip() for one in listed.split(",")]
    for where, digests in said.items():
        if sha256 not in map(str.lower, digests):
            raise MarserveError(
                f"{archive} is not the archive that it should be: its SHA-256 is {sha256}, and {where} has "
                f"{' and '.join(digests)[:200] or 'none'}."
            )


def sha256_of(file: Path) -> str:
    """In hexadecimal digits. Raises OSError."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
