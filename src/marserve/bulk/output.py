"""The folder with the results: Parquet files that are whole or not there, and what they were made with."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from marserve.bulk.engine import Prediction
from marserve.bulk.pieces import Cut
from marserve.bulk.storage import Folder
from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import RequestError
from marserve.system.files import locked

if TYPE_CHECKING:
    import pyarrow as pa

#: Beside the results: what they were made with. Readers of Parquet leave out names that begin like this.
SETTINGS_FILE, LOCK_FILE = "_bulk.json", "_bulk.lock"
#: What a file's metadata say about the shard that its pictures are from.
SHARD_KEY = b"marserve.shard"
#: Raised when columns change, so that no folder holds two kinds.
FORMAT = 1
#: Files of results that are read at the same time.
READERS = 16
#: How the settings are called on the command line, for those that can be chosen.
OPTIONS = {"archive": "--archive", "top_k": "--top-k"}


def schema() -> pa.Schema:
    """A row a picture; what a picture without classes lacks is null, and so is the error of one that has them."""
    import pyarrow as pa

    columns: list[tuple[str, pa.DataType]] = [
        ("class_id", pa.int32()),
        ("wordnet_id", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float32()),
    ]
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            *columns,
            ("top_k", pa.list_(pa.struct(columns))),
            ("error", pa.string()),
            ("message", pa.string()),
            pa.field("archive", pa.string(), nullable=False),
        ]
    )


class Rows:
    """Rows as they come, for one file."""

    def __init__(self, archive: str) -> None:
        """``archive`` is the digest of what classifies."""
        self._archive = archive
        self._rows: list[dict[str, Any]] = []
        self.errors: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, path: str, answer: Sequence[Prediction] | RequestError) -> None:
        row: dict[str, Any] = {"path": as_text(path), "archive": self._archive}
        if isinstance(answer, RequestError):
            self.errors[answer.kind] += 1
            row |= {"error": answer.kind, "message": str(answer)}
        else:
            classes = [
                {"class_id": one.class_id, "wordnet_id": one.label.wnid, "label": one.label.name}
                | {"probability": one.probability}
                for one in answer
            ]
            row |= {**classes[0], "top_k": classes}
        self._rows.append(row)

    def as_parquet(self, shard: str | None = None) -> bytes:
        """The whole file; where the pictures are from a ``shard`` it is noted."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        content = pa.BufferOutputStream()
        form = schema() if shard is None else schema().with_metadata({SHARD_KEY: as_text(shard)})
        pq.write_table(pa.Table.from_pylist(self._rows, form), content, compression="zstd")
        return bytes(content.getvalue())


def as_text(path: str) -> str:
    """``path`` as UTF-8, which names of files need not be: other bytes become ``\\xff``."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class Results:
    """A folder of results, which all runs with the same settings go on with."""

    def __init__(self, folder: Folder, settings: dict[str, Any]) -> None:
        """``settings`` are what decides what a row says."""
        self.folder = folder
        self._settings = {"format": FORMAT, **settings}
        #: How those before were cut; None: there are none.
        self.cut: Cut | None = None

    def open(self) -> None:
        """Begin, or go on with what is there. Raises MarserveError where that was made otherwise, or OSError."""
        before: dict[str, Any] | None = None
        with suppress(FileNotFoundError):
            try:
                before = json.loads(self.folder.read(SETTINGS_FILE))
            except ValueError as exc:
                raise MarserveError(f"{self.folder.name}/{SETTINGS_FILE} is damaged: give another --output.") from exc
        if before is None:
            if taken := sorted(name for name in self._existing() if name.endswith(".parquet")):
                raise MarserveError(
                    f"{self.folder.name} holds {taken[0]}, and no {SETTINGS_FILE}: it is not from marserve bulk. Give "
                    "another --output."
                )
            return
        rows = before.get("rows_per_file")
        if rows is not None:
            self.cut = Cut(rows, before.get("rows_per_part", rows), before.get("actors"))
        for name, value in self._settings.items():
            if before.get(name) != value:
                given = OPTIONS.get(name, name)
                raise MarserveError(
                    f"{self.folder.name} has results of another {given}: {before.get(name)}, and this run has "
                    f"{value}. Give another --output, or what that was begun with."
                )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other run writes to the folder inside the block, unless it is in an object store, which has no locks.

        Raises MarserveError.
        """
        if (folder := self.folder.local) is None:
            yield
            return
        self.folder.create()
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(folder / LOCK_FILE, timeout_s=0))
            except MarserveError as exc:
                raise MarserveError(f"Another run writes to {folder}: wait for it, or give another --output.") from exc
            for unfinished in folder.glob(".part-*"):  # by a run that was killed
                unfinished.unlink(missing_ok=True)
            yield

    def begin(self, cut: Cut) -> None:
        """Write down what the results are made with, if that was not done before."""
        if self.cut != cut or SETTINGS_FILE not in self._existing():
            self.folder.create()
            sizes = {"rows_per_file": cut.rows, "rows_per_part": cut.part_rows, "actors": cut.actors}
            self.folder.write(SETTINGS_FILE, json.dumps({**self._settings, **sizes}, indent=1).encode())
            self.cut = cut

    def written(self) -> set[str]:
        """The names of the files with results."""
        return {name for name in self._existing() if name.startswith("part-") and name.endswith(".parquet")}

    def paths(self, names: Collection[str]) -> dict[str | None, list[str]]:
        """The paths that have a row in these files, by the shard that they are from; None for files of their own.

        Raises OSError.
        """
        import pyarrow.parquet as pq

        found: dict[str | None, list[str]] = {}

        def read(name: str) -> tuple[str | None, list[str]]:
            table = pq.read_table(io.BytesIO(self.folder.read(name)), columns=["path"])
            shard = (table.schema.metadata or {}).get(SHARD_KEY)
            return (None if shard is None else shard.decode()), table["path"].to_pylist()

        with ThreadPoolExecutor(READERS, thread_name_prefix="results") as pool:
            for shard, paths in pool.map(read, names):
                found.setdefault(shard, []).extend(paths)
        return found

    def _existing(self) -> list[str]:
        try:
            return self.folder.files()
        except FileNotFoundError:
            return []
