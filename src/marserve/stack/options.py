"""The command line of ``scripts/serve``."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from marserve.autoscale.rules import Rules
from marserve.stack.autoscale_options import add_autoscale_arguments, autoscale_rules

UNTRAINED = "untrained"

EPILOG = """examples:
  ./scripts/serve
      ResNet18 with the official ImageNet weights, in the foreground; Ctrl-C stops it
  ./scripts/serve --detach --workers 4
      in the background; ./scripts/stop stops it
  ./scripts/serve --weights finetuned.pth --labels names.txt
      your own ResNet18; names.txt has one class name a line
  ./scripts/serve --archive model_store/flowers.mar model_store/resnet50.mar
      several models side by side, built by scripts/build_archive.py; the first answers where none is named
  ./scripts/serve --precision int8 --calibration photographs
      twice as fast as bf16, fitted to the pictures of a folder and checked against f32
  ./scripts/serve --autoscale 1..8
      1 to 8 workers per model, as many as it takes; .run/<web port>/logs/autoscale.log explains each change
  MARSERVE_WEB_PORT=5001 MARSERVE_INFERENCE_PORT=8090 MARSERVE_MANAGEMENT_PORT=8091 MARSERVE_METRICS_PORT=8092 \\
      ./scripts/serve
      a second stack beside the first

ports, by environment variable (all on 127.0.0.1):
  MARSERVE_WEB_PORT 5000, MARSERVE_INFERENCE_PORT 8080, MARSERVE_MANAGEMENT_PORT 8081, MARSERVE_METRICS_PORT 8082,
  MARSERVE_GRPC_INFERENCE_PORT 7070 and MARSERVE_GRPC_MANAGEMENT_PORT 7071, or free ones where these are taken

Needs Python 3.10 or newer with venv; everything else is installed into .venv on the first start.
"""


@dataclass(frozen=True)
class Options:
    """What ``scripts/serve`` was asked for; files are absolute and exist."""

    detach: bool = False
    #: A file, ``untrained``, or None to look for the official weights.
    weights: Path | str | None = None
    labels: Path | None = None
    precision: str | None = None
    #: Folder of pictures for int8; None where the archives at hand were built with them.
    calibration: Path | None = None
    #: Built archives to serve instead of ResNet18; the first is the default model.
    archives: tuple[Path, ...] = ()
    #: Per model; None means as many as the cores suggest.
    workers: int | None = None
    #: Address that the web service listens on; everything else stays on 127.0.0.1.
    host: str = "127.0.0.1"
    #: Whether archives can be registered while it runs.
    model_api: bool = False
    #: How the number of workers is adapted; None: it stays as it is.
    autoscale: Rules | None = None


def parse_options(arguments: Sequence[str]) -> Options:
    """Read the command line; wrong arguments end the process with status 2 and say what is right."""
    parser = argparse.ArgumentParser(
        prog="marserve serve",
        description="Serve image classification: set up what is missing, build the archive, start TorchServe, and wait "
        "until it answers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--detach", action="store_true", help="return when it answers, and leave it running")
    parser.add_argument(
        "--weights", metavar="FILE", type=_weights,
        help=f"state dict (.pth, .pt, .safetensors), or '{UNTRAINED}' for seeded random weights (default: the official "
        f"ImageNet weights, from the torch hub cache or downloaded; else {UNTRAINED})",
    )  # fmt: skip
    parser.add_argument(
        "--labels", metavar="FILE", type=_file,
        help="class names in class order: text, one a line, or JSON (default: ImageNet's)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=["auto", "f32", "bf16", "int8"],
        help="what the network computes in; auto is bf16 where the processor has it (default: as in "
        "config/model-config.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--calibration", metavar="DIR", type=_directory,
        help="100 or more pictures like those to be classified, which int8 is fitted to and judged by; needed when "
        "archives are built as int8",
    )  # fmt: skip
    parser.add_argument(
        "--archive", metavar="FILE", dest="archives", nargs="+", type=_file, default=(),
        help="serve these archives of scripts/build_archive.py instead of ResNet18, as they are; the first one answers "
        "where no model is named",
    )  # fmt: skip
    parser.add_argument(
        "--workers", metavar="N", type=_count,
        help="worker processes per model (default: one per usable core, at most 16)",
    )  # fmt: skip
    parser.add_argument(
        "--host", metavar="ADDR", type=_address, default="127.0.0.1",
        help="address the web service listens on, such as 0.0.0.0; TorchServe stays on 127.0.0.1 (default: 127.0.0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--model-api", action="store_true",
        help="let TorchServe register and unregister archives while it runs, which scripts/manage.py deploy needs",
    )  # fmt: skip
    add_autoscale_arguments(parser)
    given = vars(parser.parse_args(arguments))
    given["archives"] = tuple(given["archives"])
    autoscale = autoscale_rules(parser, given)
    options = Options(autoscale=autoscale, **given)
    if options.archives and {options.weights, options.labels, options.precision} != {None}:
        parser.error("--archive takes archives as they were built, without --weights, --labels and --precision")
    if options.calibration is not None and options.precision != "int8":
        parser.error("--calibration goes with --precision int8")
    return options


def _file(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file")
    return path


def _directory(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return path


def _weights(text: str) -> Path | str:
    return text if text == UNTRAINED else _file(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 9999")
    return int(text)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address such as 127.0.0.1 or 0.0.0.0") from None
