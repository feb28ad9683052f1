"""Classify an archive of pictures with every core, or with a cluster, into Parquet.

Without a server between: each core has the network of the archive, reads, decodes and writes. The same command goes on
after an interruption, and computes only what is missing.
"""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from functools import partial

from marserve.arguments import UsageError, add_quiet, file, real, whole
from marserve.bulk.fit import SPARE_HOSTS
from marserve.bulk.watch import LIMIT_S
from marserve.paths import absolute
from marserve.terminal import complain, counted

NEEDS = "ray"
EPILOG = """examples:
  marserve bulk photographs --archive model_store/resnet18.mar --output classes
      a folder, with every core of this machine; the same command again goes on after an interruption
  marserve bulk 'shards/*.tar' s3://bucket/2024 --archive resnet18.mar --output s3://bucket/classes
      tar files and a folder of an object store, into one
  marserve bulk --files-from list.txt --archive resnet18.mar --output classes --address ray-head:6379
      what a list names, on a cluster
  python -c "import pandas; print(pandas.read_parquet('classes').label.value_counts())"
      the results: path, class_id, wordnet_id, label, probability, top_k, error, message, archive

rows: each picture has one. What cannot be read is one with its error. What has a row keeps it when the command is given
  again, also where the picture has changed since: give another --output then. Another archive or --top-k needs another
  --output too.

exit status: 0 each picture has a row, those that cannot be read included; 1 it failed or was interrupted, and the same
command goes on; 2 wrong arguments, or no picture found; 3 nothing was finished for --stall-limit seconds"""

TOP_K = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", nargs="*", metavar="SOURCE",
        help="a file, a folder, a pattern such as 'a/**/*.jpg', a tar file of pictures (WebDataset), or a Parquet file "
        "with a column of them; here or in an object store (s3://bucket/folder, gs://...)",
    )  # fmt: skip
    parser.add_argument(
        "--files-from", metavar="LIST",
        help="a file that lists pictures and shards: one a line, with NUL between them, or Parquet with a column path",
    )  # fmt: skip
    parser.add_argument("--archive", metavar="FILE", type=file, required=True, help="the .mar to classify with")
    parser.add_argument(
        "--output",
        metavar="DIR",
        required=True,
        help="the folder for the results, here or in an object store (s3://...)",
    )
    parser.add_argument(
        "--top-k", metavar="K", type=whole(1, 1000), default=TOP_K, help="classes a picture (default: 5)"
    )
    parser.add_argument(
        "--address", metavar="HOST:PORT",
        help="a Ray cluster, or auto for the one that runs here, with its token in RAY_AUTH_TOKEN (default: Ray of its "
        "own on this machine)",
    )  # fmt: skip
    parser.add_argument(
        "--spare-hosts", metavar="N", type=whole(0, 1000), default=SPARE_HOSTS,
        help="hosts of a cluster that may be lost: only as many actors start as fit on the others (default: "
        f"{SPARE_HOSTS})",
    )  # fmt: skip
    parser.add_argument(
        "--stall-limit", metavar="SECONDS", type=real(1, 7 * 86400), default=LIMIT_S,
        help=f"end the run when nothing was finished for so long (default: {LIMIT_S:.0f})",
    )  # fmt: skip
    parser.add_argument(
        "--actors", metavar="N", type=whole(1, 100_000), help="how many compute (default: one a GPU, else one a core)"
    )
    parser.add_argument(
        "--rows-per-file", metavar="N", type=whole(1, 1_000_000),
        help="pictures that one file of results has (default: a thousandth of them, 256 to 20,000, and fewer "
        "in the last ones, so that all actors end at the same time)",
    )  # fmt: skip
    parser.add_argument(
        "--picture-column",
        metavar="NAME",
        help="of Parquet files (default: the one with bytes, or image, picture, ...)",
    )
    parser.add_argument(
        "--path-column", metavar="NAME",
        help="of Parquet files: what the rows of the results are called (default: path, file_name, ..., else the "
        "file's name and the row's number)",
    )  # fmt: skip
    add_quiet(parser, "no progress, no counts: only failures")


def check(options: argparse.Namespace) -> None:
    """Before set-up: whether the arguments fit together."""
    if not options.sources and options.files_from is None:
        raise UsageError("name a picture, a folder, a pattern or a shard; --help has examples")


def run(options: argparse.Namespace) -> int:
    from marserve.bulk.cluster import connected
    from marserve.bulk.engine import ArchiveFile
    from marserve.bulk.hosts import check_hosts, places, standing
    from marserve.bulk.missing import find_missing, usual_cut
    from marserve.bulk.output import Results
    from marserve.bulk.pieces import Cut
    from marserve.bulk.run import Progress, classify_pieces, conclude, describe
    from marserve.bulk.sources import find_sources, read_list
    from marserve.bulk.storage import Folder, is_address
    from marserve.bulk.watch import Watch
    from marserve.bulk.worker import Task
    from marserve.classify.run import stop_on_signals
    from marserve.handler.resnet18.formats import readable_formats
    from marserve.pictures import NoPictureFoundError, describe_skipped, picture_suffixes

    archive = ArchiveFile.read(options.archive, os.environ)
    output = options.output if is_address(options.output) else str(absolute(options.output))
    results = Results(Folder(output), {"archive": archive.digest, "top_k": options.top_k})
    try:
        listed = [] if options.files_from is None else read_list(options.files_from)
        suffixes = picture_suffixes(heic="HEIC" in readable_formats())
        sources = find_sources(options.sources, listed, suffixes, output=output)
    except NoPictureFoundError as exc:
        raise UsageError(str(exc)) from exc
    if sources.skipped and not options.quiet:
        complain(describe_skipped(sources.skipped))
    results.open()
    find = partial(
        find_missing, sources, results, picture_column=options.picture_column, path_column=options.path_column
    )
    rows = options.rows_per_file
    cut = Cut(rows, rows) if rows else results.cut
    missing = find(cut=cut) if cut else None
    if missing is not None and not missing.pieces:
        if not options.quiet:
            complain(f"Nothing is left to do: {missing.known:,} known from before.")
        return 0
    size = len(archive.content)
    ray_is_there = connected(options.address, actors=options.actors, archive_bytes=size)
    with results.alone(), ray_is_there, stop_on_signals(lambda: None) as stop:
        import ray

        actors, actor = places(size, wanted=options.actors, spare_hosts=options.spare_hosts)
        cut = cut or usual_cut(sources, actors)
        results.begin(cut)
        if options.address is not None:
            check_hosts(results.folder.local)
        missing = (missing or find(cut=cut)).dealt(actors)
        task = Task(ray.put(archive), archive.digest, output, options.top_k, 1, bool(actor.gpus))
        with nullcontext(_nothing) if options.quiet else counted("Classifying", "pictures", estimate=False) as bar:

            def show(progress: Progress) -> None:
                total = None if progress.total is None else missing.known + progress.total
                bar(missing.known + progress.rows, total, describe(progress))

            watch = Watch(standing, options.stall_limit)
            done = classify_pieces(missing, task, actors=actors, actor=actor, show=show, stop=stop, watch=watch)
    if not options.quiet:
        complain(conclude(done, missing.known))
    if stop.is_set():
        complain("Interrupted: the same command goes on.")
    return 1 if stop.is_set() else 0


def _nothing(done: float, total: float | None, detail: str = "") -> None:
    """In place of a bar."""
