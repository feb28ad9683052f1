"""Classify an archive of pictures with every core, or with a cluster, into Parquet.

Without a server between: each core has the network of the archive, reads, decodes and writes. The same command goes on
after an interruption, and computes only what is missing.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from contextlib import nullcontext

from marserve.arguments import UsageError, add_quiet, file, real, whole
from marserve.bulk.fit import SPARE_HOSTS
from marserve.bulk.watch import LIMIT_S
from marserve.paths import absolute
from marserve.terminal import complain, counted

NEEDS = "ray"
EPILOG = """examples:
  marserve bulk photographs --archive model_store/resnet18.mar --output classes
      a folder, with every core of this machine

exit status: 0 every picture has a row, those that cannot be read included; 1 it failed or was interrupted, and the same
command goes on; 2 wrong arguments, or no picture found; 3 nothing was finished for --stall-limit seconds"""

TOP_K = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="a file, a folder, or a pattern such as 'a/**/*.jpg'"
    )
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
        help="pictures that one file of results has (default: a thousandth of them, 64 to 20,000)",
    )  # fmt: skip
    add_quiet(parser, "no progress, no counts: only failures")


def check(options: argparse.Namespace) -> None:
    """Before set-up: whether the arguments fit together."""
    if options.output.startswith("-") or not options.output:
        raise UsageError("--output names a folder")


def run(options: argparse.Namespace) -> int:
    from marserve.bulk.cluster import check_hosts, connected, places, standing
    from marserve.bulk.engine import ArchiveFile
    from marserve.bulk.output import Results
    from marserve.bulk.pieces import cut, rows_per_file
    from marserve.bulk.run import Progress, classify_pieces, describe
    from marserve.bulk.storage import Folder, is_address
    from marserve.bulk.watch import Watch
    from marserve.bulk.worker import Task
    from marserve.classify.run import stop_on_signals
    from marserve.handler.resnet18.formats import readable_formats
    from marserve.pictures import NoPictureFoundError, describe_skipped, find_files, picture_suffixes

    archive = ArchiveFile.read(options.archive, os.environ)
    output = options.output if is_address(options.output) else str(absolute(options.output))
    folder = Folder(output)
    results = Results(folder, {"archive": archive.digest, "top_k": options.top_k})
    try:
        found, skipped = find_files(options.sources, picture_suffixes(heic="HEIF" in readable_formats()))
    except NoPictureFoundError as exc:
        raise UsageError(str(exc)) from exc
    if skipped and not options.quiet:
        complain(describe_skipped(skipped))
    results.open()
    size = len(archive.content)
    with connected(options.address, actors=options.actors, archive_bytes=size), stop_on_signals(lambda: None) as stop:
        import ray

        actors, actor = places(size, wanted=options.actors, spare_hosts=options.spare_hosts)
        rows = results.rows_per_file or options.rows_per_file or rows_per_file(len(found), actors)
        results.begin(rows)
        if options.address is not None:
            check_hosts(folder.local)
        pieces = list(cut(list(found), rows))
        written = results.written()
        missing = [piece for piece in pieces if piece.name not in written]
        known = len(found) - sum(len(piece.paths) for piece in missing)
        task = Task(ray.put(archive), archive.digest, output, options.top_k, 1, bool(actor.gpus))
        with counted("Classifying", "pictures", estimate=False) if not options.quiet else nullcontext(_nothing) as bar:

            def show(progress: Progress) -> None:
                left = len(found) - known - progress.rows
                bar(known + progress.rows, len(found), describe(progress, left))

            watch = Watch(standing, options.stall_limit)
            done = classify_pieces(missing, task, actors=actors, actor=actor, show=show, stop=stop, watch=watch)
    if not options.quiet:
        again = f", {known:,} known from before" if known else ""
        classified = f"{done.rows - done.failed:,} classified at {done.rate():.1f}/s"
        complain(f"{classified}{again}, {done.failed:,} unreadable{_kinds(done.errors)}")
    left = len(found) - known - done.rows
    if left:
        complain(f"Interrupted: {left:,} are left (the same command goes on).")
    return 1 if left else 0


def _nothing(*_: object) -> None:
    """In place of a bar."""


def _kinds(errors: Counter[str]) -> str:
    return f" ({', '.join(f'{count:,} {kind}' for kind, count in errors.most_common())})" if errors else ""
