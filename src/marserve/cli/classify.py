"""Classify pictures: files, folders with all folders below, and patterns.

With --output FILE the same command continues a run that was interrupted or killed: pictures that have a result in FILE
and have not changed since are not sent again; those that failed are.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

from marserve.arguments import UsageError, add_quiet, real, whole
from marserve.paths import command, expanded
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, State
from marserve.system.files import failure_of
from marserve.system.loopback import is_free
from marserve.terminal import complain
from marserve.variables import variable

NEEDS = "client"
EPILOG = """examples:
  marserve classify examples/cat.jpg
  marserve classify photographs --output results.jsonl
      a folder; the same command again goes on after an interruption
  marserve classify 'photographs/**/*.png' --format csv --top-k 1 > results.csv
      a pattern, quoted so that it does not depend on the shell
  curl -sL https://example.org/cat.jpg | marserve classify -
      one picture from standard input
  find photographs -newer last-run -print0 | marserve classify --files-from -
      those that another program lists, one a line or with NUL between them

order: standard output has the pictures in the order they were named, those of a folder or pattern sorted by path;
  FILE has them in the order they were answered. Failures go to standard error and are no results.

other files: what a folder holds besides pictures is counted and listed. HEIC is sent where the service reads it.
  Photographs that cannot be read (HEIC elsewhere, camera raw, .psd, .jxl) count as failed. A file that is named itself
  is sent whatever it is called.

tables are for people: they fit the width of a terminal; elsewhere paths and labels stay whole. jsonl and csv are for
  programs.

exit status: 0 all succeeded; 1 some failed or were not sent; 2 wrong arguments, or no picture found"""

API_KEY_VARIABLE = variable("classify_api_key")
#: Classes a picture where no number is given: the page's in a table, the API's elsewhere.
TABLE_TOP_K, TOP_K = 3, 5
STDIN = "/dev/stdin"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pictures", nargs="*", metavar="PICTURE",
        help="a file, a folder, a pattern such as 'a/**/*.jpg', or - for one picture from standard input",
    )  # fmt: skip
    parser.add_argument(
        "--files-from", metavar="LIST", type=expanded,
        help="a file that lists pictures and folders, or - for standard input",
    )  # fmt: skip
    parser.add_argument("--url", help="the web service (default: this machine's, on MARSERVE_WEB_PORT, else 5000)")
    parser.add_argument(
        "--ca", metavar="FILE", type=Path,
        help="authorities' certificates to trust, in PEM (default: those of REQUESTS_CA_BUNDLE, or the usual ones)",
    )  # fmt: skip
    parser.add_argument("--model", metavar="NAME", help="a model that the service has (default: its default one)")
    parser.add_argument(
        "--format", choices=["table", "jsonl", "csv"],
        help="a table to read, one JSON object a line, or one CSV row a picture (default: table; with --output by its "
        "name, else jsonl)",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="FILE", type=expanded, help="keep the results in FILE, and go on from there"
    )
    parser.add_argument(
        "--top-k", metavar="K", type=whole(1, 1000),
        help=f"classes a picture (default: {TABLE_TOP_K} in a table, else {TOP_K})",
    )  # fmt: skip
    parser.add_argument(
        "--threshold", metavar="PERCENT", type=real(0, 100), default=0.0,
        help="leave out classes that are less probable (default: 0)",
    )  # fmt: skip
    parser.add_argument("--lang", choices=["en", "zh"], help="language of ImageNet's labels (default: en)")
    parser.add_argument(
        "--parallel", metavar="N", type=whole(1, 256), default=32, help="pictures sent at the same time (default: 32)"
    )
    parser.add_argument(
        "--deadline", metavar="SECONDS", type=real(0.001, 86400), default=60.0,
        help="for one picture, retries while the service is overloaded or unavailable included (default: 60)",
    )  # fmt: skip
    parser.add_argument(
        "--priority", choices=["interactive", "bulk"],
        help="bulk: the service lets pictures of other callers go first, and these fill the gaps (default: bulk for "
        "several pictures, interactive for one)",
    )  # fmt: skip
    parser.add_argument(
        "--api-key", metavar="KEY",
        help="if the service requires one; it stays in your shell's history, so prefer the variable "
        f"{API_KEY_VARIABLE}",
    )  # fmt: skip
    add_quiet(parser, "no progress, no counts: only results and failures")


def check(options: argparse.Namespace) -> None:
    """Before set-up: whether the arguments fit together."""
    _hide_key(options.api_key)
    stdin = [*options.pictures, str(options.files_from)].count("-")
    if not options.pictures and options.files_from is None:
        raise UsageError("name a picture, a folder or a pattern; - is standard input, --help has examples")
    if stdin > 1:
        raise UsageError("standard input is one picture or one list")
    if stdin and sys.stdin.isatty():
        raise UsageError("- is standard input, which is the keyboard here: pipe something into it")
    if options.output is not None:
        form = options.format or _usual_format(options.output)
        if form is None:
            raise UsageError(f"--output {options.output}: the name says no format; give --format jsonl or csv with it")
        if form == "table":
            raise UsageError("--output keeps results to go on from: give it --format jsonl or csv")
        if not options.output.parent.is_dir():
            raise UsageError(f"--output {options.output}: folder {options.output.parent} does not exist")


def _hide_key(key: str | None) -> None:
    """Where the command line has a key, which all users of this machine can read there, begin anew without it."""
    line, option = sys.orig_argv, "--api-key"
    places = [place for place, word in enumerate(line) if word == option or word.startswith(f"{option}=")]
    if key is None or not places:  # it is from the file of settings, say
        return
    for place in reversed(places):
        del line[place : place + (2 if line[place] == option else 1)]
    os.environ[API_KEY_VARIABLE] = key
    os.execv(sys.executable, line)  # noqa: S606


def run(options: argparse.Namespace) -> int:
    from marserve.classify.results import Csv, JsonLines, ResultFile, Table
    from marserve.classify.run import classify_files, stop_on_signals
    from marserve.client.inference import InferenceClient
    from marserve.pictures import NoPictureFoundError, describe_skipped, find_pictures

    form = options.format or _usual_format(options.output)
    top_k = options.top_k or (TABLE_TOP_K if form == "table" else TOP_K)
    names = [STDIN if name == "-" else name for name in options.pictures]
    listed = [] if options.files_from is None else _listed(options.files_from)
    port = Ports.from_environment().web_port
    run_directory = RunDirectory(port)
    state = State.read(run_directory.state) if options.url is None else None
    certificate = None if state is None else run_directory.certificate_of(state)
    if options.url is None and is_free(port) and not options.quiet:
        complain(f"Nothing answers on web port {port}; waiting. Start it with {command('serve')}")
    try:
        found = find_pictures(names, heic=True, listed=listed)
        client = InferenceClient.for_web(
            _with_scheme(options.url) or f"{'http' if certificate is None else 'https'}://127.0.0.1:{port}",
            ca=options.ca,
            certificate=certificate,
            model=options.model,
            lang=None if options.lang == "en" else options.lang,
            api_key=options.api_key or os.environ.get(API_KEY_VARIABLE),
            deadline_s=options.deadline,
            connections=options.parallel,
            # A person may be waiting for one picture; nobody waits for one of many.
            bulk=(options.priority or ("bulk" if len(found.pictures) > 1 else "interactive")) == "bulk",
        )
        if found.has_heic and not client.reads("HEIC"):
            found = find_pictures(names, heic=False, listed=listed)
    except (NoPictureFoundError, ValueError) as exc:
        raise UsageError(str(exc)) from exc
    pictures = found.pictures
    if found.skipped and not options.quiet:
        complain(describe_skipped(found.skipped))
    results = (Csv if form == "csv" else JsonLines)(top_k)
    known = 0
    with stop_on_signals(client.close) as stop:
        how = {"top_k": top_k, "parallel": options.parallel, "stop": stop, "least": options.threshold / 100}
        if options.output is None:
            columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            write = Table(pictures, top_k, columns=columns).line if form == "table" else results.encode
            _print(results.header if form != "table" else "")
            outcome = classify_files(
                client, pictures, lambda picture, answer: _print(write(picture, answer)), **how,
                in_order=True, show_progress=not (options.quiet or sys.stdout.isatty()),
            )  # fmt: skip
        else:
            try:
                with ResultFile(options.output, results, model=options.model) as file:
                    left = file.open(pictures)
                    known = len(pictures) - len(left)
                    quiet = options.quiet
                    outcome = classify_files(client, left, file.add, **how, in_order=False, show_progress=not quiet)
            except OSError as exc:
                complain(failure_of(exc))
                return 1
    outcome.failed += found.foreign
    if outcome.stopped is not None:
        complain(outcome.stopped)
    # Of a lone picture that failed all was said.
    incomplete = (outcome.failed or outcome.left) and len(pictures) + found.foreign > 1
    if (options.output is not None or incomplete) and not options.quiet:
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


def _listed(file: Path) -> list[str]:
    """The names in ``file``. Raises UsageError where it has none."""
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as exc:
        missing = isinstance(exc, FileNotFoundError)
        raise UsageError(f"--files-from: {f'{file} does not exist' if missing else failure_of(exc)}") from exc
    # As find -print0 ends names, which may hold line breaks.
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    if not any(names):
        raise UsageError(f"--files-from {file}: it names no picture")
    return [os.fsdecode(name) for name in names if name]


def _with_scheme(url: str | None) -> str | None:
    """An address such as 127.0.0.1:5000 is taken for HTTP."""
    host = r"([\w-]+\.[\w.-]+|[\w-]+(?=:)|localhost|\[[\da-fA-F:.]+\])"
    return f"http://{url}" if url is not None and re.fullmatch(rf"{host}(:\d+)?(/.*)?", url) else url


def _print(text: str) -> None:
    # As bytes: names of files need be no text.
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
