"""``marserve bulk`` from an object store like S3 into one: interrupted, gone on with, and when it goes away."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import tarfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector, FileSystem, S3FileSystem

from marserve.archive.build import BuiltArchive
from marserve.system.waiting import wait_until
from tests.deploy.object_store import object_store
from tests.e2e.bulk_runs import EXAMPLES, RUN_S, bulk, others_lines
from tests.e2e.serving import run

FILES, MEMBERS, CELLS, ROWS_PER_FILE = 96, 48, 48, 4
PICTURES = FILES + MEMBERS + CELLS


@dataclass(frozen=True)
class Bucket:
    system: FileSystem
    name: str

    def put(self, key: str, content: bytes) -> None:
        with self.system.open_output_stream(f"{self.name}/{key}") as stream:
            stream.write(content)

    def files(self, folder: str) -> list[str]:
        """Those with results."""
        found = self.system.get_file_info(FileSelector(f"{self.name}/{folder}", allow_not_found=True))
        return [file.path for file in found if file.base_name.startswith("part-")]

    def results(self, folder: str) -> dict[str, list[dict[str, Any]]]:
        """The rows of each file."""
        return {path: pq.read_table(path, filesystem=self.system).to_pylist() for path in self.files(folder)}


def example(number: int) -> bytes:
    return EXAMPLES[number % len(EXAMPLES)].read_bytes()


def fill(bucket: Bucket) -> set[str]:
    """A folder, a tar file and a Parquet file of pictures; answers the paths that their rows have."""
    for number in range(FILES):
        bucket.put(f"2026/{number:03}.jpg", example(number))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as shard:
        for number in range(MEMBERS):
            member = tarfile.TarInfo(f"{number:03}.jpg")
            member.size = len(example(number))
            shard.addfile(member, io.BytesIO(example(number)))
    bucket.put("2026/shard.tar", tar.getvalue())
    names = [f"cell {number}" for number in range(CELLS)]
    cells = io.BytesIO()
    pq.write_table(pa.table({"path": names, "image": [example(number) for number in range(CELLS)]}), cells)
    bucket.put("2026/shard.parquet", cells.getvalue())
    return {
        *(f"s3://pictures/2026/{number:03}.jpg" for number in range(FILES)),
        *(f"s3://pictures/2026/shard.tar/{number:03}.jpg" for number in range(MEMBERS)),
        *names,
    }


@pytest.mark.needs("moto_server")
@pytest.mark.timeout(900)
def test_from_s3_to_s3_in_two_halves_and_not_into_a_store_that_is_gone(
    demonstration_archive: BuiltArchive, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with ExitStack() as stack:
        variables = stack.enter_context(object_store(tmp_path / "moto.log", "pictures", "labels"))
        system = S3FileSystem(
            endpoint_override=variables["AWS_ENDPOINT_URL"],
            access_key=variables["AWS_ACCESS_KEY_ID"],
            secret_key=variables["AWS_SECRET_ACCESS_KEY"],
            region=variables["AWS_DEFAULT_REGION"],
            allow_delayed_open=True,
        )
        labels = Bucket(system, "labels")
        paths = fill(Bucket(system, "pictures"))
        environment = os.environ | variables
        archive, given = demonstration_archive.path, ("s3://pictures/2026", "--rows-per-file", ROWS_PER_FILE)
        command = bulk(archive, "s3://labels/2026", *given)

        def until_files(folder: str, count: int, driver: subprocess.Popen[bytes]) -> None:
            assert wait_until(
                lambda: len(labels.files(folder)) >= count, RUN_S, while_alive=lambda: driver.poll() is None
            ), log.read_text()

        with log.open("wb") as said, subprocess.Popen(command, env=environment, stderr=said) as driver:
            until_files("2026", PICTURES // ROWS_PER_FILE // 2, driver)
            driver.send_signal(signal.SIGINT)
        assert driver.returncode == 1
        assert "Interrupted: the same command goes on." in log.read_text()
        before = labels.results("2026")
        known = sum(map(len, before.values()))
        assert known < PICTURES

        second = run(command, environment)
        assert second.returncode == 0, second.stderr
        assert f"{PICTURES - known} classified at " in second.stderr
        assert f", {known} known from before, 0 with an error" in second.stderr
        assert others_lines(second.stdout + second.stderr) == []
        results = labels.results("2026")
        assert before.items() <= results.items()
        rows = [row for part in results.values() for row in part]
        assert (len(rows), {row["path"] for row in rows}) == (PICTURES, paths)
        assert {row["error"] for row in rows} == {None}

        with log.open("wb") as said:
            driver = subprocess.Popen(bulk(archive, "s3://labels/gone", *given), env=environment, stderr=said)
        until_files("gone", 1, driver)
        stack.close()
        assert driver.wait(RUN_S) == 1
    (reason,) = others_lines(log.read_text())
    assert re.match(r"Host \S+ cannot read or write: .* NETWORK_CONNECTION .* The same command goes on\.", reason)
