"""Classify pictures: files, folders with all folders below, and patterns.

With --output FILE a run that was interrupted, killed included, goes on where it was when it is started again: pictures
that have a result in FILE and have not changed since are not sent, those that failed are.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from marserve.arguments import UsageError, real, whole
from marserve.paths import expanded
from marserve.stack.ports import Ports
from marserve.system.files import failure_of
from marserve.terminal import complain

NEEDS = "client"
EPILOG = """examples:
  marserve classify examples/cat.jpg
  marserve classify photographs --output results.jsonl
      a folder; the same command again goes on after an interruption
  marserve classify 'photographs/**/*.png' --format csv --top-k 1 > results.csv
      a pattern, quoted so that it does not depend on the shell

order: standard output has the pictures in the order they were named, those of a folder or pattern sorted by path;
  FILE has them in the order they were answered. Failures go to standard error and are no results.

other files: what a folder holds besides pictures is counted and listed. HEIC is sent where the service reads it.
  Photographs that cannot be read (HEIC elsewhere, camera raw, .psd, .jxl) count as failed. A file that is named itself
  is sent whatever it is called.

exit status: 0 all succeeded; 1 some failed or were not sent; 2 wrong arguments, or no picture found"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURE", help="a file, a folder or a pattern such as 'a/**/*.jpg'"
    )
    parser.add_argument("--url", help="the web service (default: this machine's, on MARSERVE_WEB_PORT, else 5000)")
    parser.add_argument("--model", metavar="NAME", help="a model that the service has (default: its default one)")
    parser.add_argument(
        "--format", choices=["table", "jsonl", "csv"],
        help="table for people, an object a line, or a row a picture (default: table; with --output by its name, else "
        "jsonl)",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="FILE", type=expanded, help="keep the results in FILE, and go on from there"
    )
    parser.add_argument("--top-k", metavar="K", type=whole(1, 1000), default=5, help="classes a picture (default: 5)")
    parser.add_argument(
        "--parallel", metavar="N", type=whole(1, 256), default=32, help="pictures at work at once (default: 32)"
    )
    parser.add_argument(
        "--deadline", metavar="SECONDS", type=real(0.001, 86400), default=60.0,
        help="for one picture, with all repetitions while the service is overloaded or away (default: 60)",
    )  # fmt: skip
    parser.add_argument(
        "--api-key", metavar="KEY",
        help="where the service requires one; other users of this machine see it, but not "
        "variable MARSERVE_CLASSIFY_API_KEY",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    from marserve.classify.results import LONGEST_PATH, Csv, JsonLines, ResultFile, Table
    from marserve.classify.run import classify_files, stop_on_signals
    from marserve.client.inference import InferenceClient
    from marserve.pictures import NoPictureFoundError, describe_skipped, find_pictures

    form = options.format or _usual_format(options.output)
    if options.output is not None:
        if form is None:
            raise UsageError(f"--output {options.output}: the name says no format; give --format jsonl or csv with it")
        if form == "table":
            raise UsageError("--output keeps results to go on from: give it --format jsonl or csv")
        if not options.output.parent.is_dir():
            raise UsageError(f"--output {options.output}: folder {options.output.parent} does not exist")
    try:
        found = find_pictures(options.pictures, heic=True)
        client = InferenceClient.for_web(
            _with_scheme(options.url) or f"http://127.0.0.1:{Ports.from_environment().web_port}",
            model=options.model,
            api_key=options.api_key or os.environ.get("MARSERVE_CLASSIFY_API_KEY"),
            deadline_s=options.deadline,
            connections=options.parallel,
        )
        if found.has_heic and not client.reads("HEIC"):
            found = find_pictures(options.pictures, heic=False)
    except (NoPictureFoundError, ValueError) as exc:
        raise UsageError(str(exc)) from exc
    pictures = found.pictures
    if found.skipped:
        complain(describe_skipped(found.skipped))
    results = (Csv if form == "csv" else JsonLines)(options.top_k)
    known = 0
    with stop_on_signals(client.close) as stop:
        how = {"top_k": options.top_k, "parallel": options.parallel, "stop": stop}
        if options.output is None:
            longest_path = LONGEST_PATH if sys.stdout.isatty() else None
            write = Table(pictures, longest_path=longest_path).line if form == "table" else results.encode
            _print(results.header if form != "table" else "")
            outcome = classify_files(
                client, pictures, lambda picture, answer: _print(write(picture, answer)), **how,
                in_order=True, show_progress=not sys.stdout.isatty(),
            )  # fmt: skip
        else:
            try:
                with ResultFile(options.output, results, model=options.model) as file:
                    left = file.open(pictures)
                    known = len(pictures) - len(left)
                    outcome = classify_files(client, left, file.add, **how, in_order=False, show_progress=True)
            except OSError as exc:
                complain(failure_of(exc))
                return 1
    outcome.failed += found.foreign
    if outcome.stopped is not None:
        complain(outcome.stopped)
    # Of a lone picture that failed all was said.
    if options.output is not None or ((outcome.failed or outcome.left) and len(pictures) + found.foreign > 1):
        again = f", {known} known from before" if known else ""
        counts = f"{outcome.succeeded} classified{again}, {outcome.failed} failed, {outcome.left} not sent"
        go_on = " (the same command goes on)" if options.output and (outcome.failed or outcome.left) else ""
        complain(f"{counts}{go_on}")
    return 1 if outcome.failed or outcome.left else 0


def _usual_format(output: Path | None) -> str | None:
    """What the name says; None for one that says something else."""
    if output is None:
        return "table"
    return {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", "": "jsonl"}.get(output.suffix.lower())


def _with_scheme(url: str | None) -> str | None:
    """An address such as 127.0.0.1:5000 is taken for HTTP."""
    return f"http://{url}" if url is not None and re.fullmatch(r"[\w.-]+:\d+(/.*)?", url) else url


def _print(text: str) -> None:
    # As bytes: names of files need be no text.
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
