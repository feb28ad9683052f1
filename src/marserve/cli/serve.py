"""Serve image classification: set up what is missing, build the archive, start TorchServe and the web service, wait
until a picture has been classified, and start again what ends or hangs. What was deployed before is served again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from marserve.arguments import (
    UNTRAINED,
    UsageError,
    add_archive_options,
    add_quiet,
    address,
    bounds,
    file_or_folder,
    positive,
    whole,
)
from marserve.autoscale.rules import Rules
from marserve.errors import MarserveError
from marserve.paths import FROM_FILE, command, door
from marserve.stack.deployments import replaced_by
from marserve.stack.model_store import DeploymentStore
from marserve.stack.options import Options
from marserve.stack.ports import Ports, PortsTakenError
from marserve.stack.preflight import check_start
from marserve.stack.run_directory import RunDirectory, State
from marserve.system.processes import running
from marserve.terminal import QUIET
from marserve.variables import given_variables

NEEDS = "serve"
#: Halves of a stack; each needs the extra of its name.
TORCHSERVE, WEB = ROLES = ("torchserve", "web")
EPILOG = """examples:
  marserve serve
      ResNet18 with the official ImageNet weights, in the foreground; Ctrl-C stops it
  marserve serve --detach --workers 4
      in the background; marserve stop stops it
  marserve serve --weights finetuned.pth --labels names.txt
      your own ResNet18; names.txt has one class name a line
  marserve serve --archive model_store/flowers.mar model_store/resnet50.mar
      several models side by side, built by marserve build; the first answers where none is named
  marserve serve --precision int8 --calibration photographs
      twice as fast as bf16, fitted to the pictures of a folder and checked against f32
  marserve serve --autoscale 1..8
      1 to 8 workers per model, as many as it takes; .run/<web port>/logs/autoscale.log explains each change
  MARSERVE_WEB_PORT=5001 MARSERVE_INFERENCE_PORT=8090 MARSERVE_MANAGEMENT_PORT=8091 MARSERVE_METRICS_PORT=8092 \\
      marserve serve
      a second stack beside the first; marserve.toml can have these, and the options
  marserve serve --check --workers 8
      what this start would do, and what is in its way

ports, by environment variable (all on 127.0.0.1):
  MARSERVE_WEB_PORT 5000, MARSERVE_INFERENCE_PORT 8080, MARSERVE_MANAGEMENT_PORT 8081, MARSERVE_METRICS_PORT 8082,
  MARSERVE_GRPC_INFERENCE_PORT 7070 and MARSERVE_GRPC_MANAGEMENT_PORT 7071, or free ones where these are taken

exit status: 0 it was stopped or, with --detach, it answers; 1 it failed, and what was started is stopped again, or a
stack runs that was started otherwise; with --check 1 a start would fail; 2 wrong arguments or settings"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check", action="store_true",
        help="say what a start would do and what is in its way, and start, build and install nothing",
    )  # fmt: skip
    parser.add_argument("--detach", action="store_true", help="return when it answers, and leave it running")
    add_quiet(parser, "say nothing unless something is wrong")
    add_archive_options(parser)
    parser.add_argument(
        "--archive", metavar="FILE", dest="archives", nargs="+", type=file_or_folder, default=(),
        help="serve these archives that marserve build made instead of ResNet18, as they are, of a folder all *.mar; "
        "the first one answers where no model is named",
    )  # fmt: skip
    parser.add_argument(
        "--discard-deployed", action="store_true",
        help="forget what marserve deploy and marserve scale have changed, and serve what these options say (default: "
        "serve what was deployed, unless these options choose other archives than those that it began with)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", metavar="N", type=whole(1, 9999),
        help="worker processes per model (default: one per usable core, at most 16, as far as memory has room)",
    )  # fmt: skip
    parser.add_argument(
        "--only", choices=ROLES,
        help="half of the stack, in the foreground, for two containers of one pod that share MARSERVE_HOME: TorchServe "
        "with archives that are built, or the web service; SIGTERM to both at once loses nothing",
    )  # fmt: skip
    parser.add_argument(
        "--host", metavar="ADDR", type=address, default=Options.host,
        help="address the web service listens on, such as 0.0.0.0; TorchServe stays on 127.0.0.1 (default: 127.0.0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--model-api", action="store_true",
        help="let TorchServe register and unregister archives while it runs, which marserve deploy needs",
    )  # fmt: skip
    parser.add_argument(
        "--autoscale", metavar="MIN..MAX", type=bounds,
        help="adapt the number of workers per model to the load, between these bounds and within cores and memory "
        "(default: a fixed number)",
    )  # fmt: skip
    parser.add_argument(
        "--autoscale-target", metavar="MS", type=positive,
        help="average milliseconds of waiting for a worker above which one is added "
        f"(default: {Rules.target_wait_s * 1000:g})",
    )  # fmt: skip
    parser.add_argument(
        "--autoscale-quiet", metavar="S", type=positive,
        help=f"seconds of low load before a worker is removed (default: {Rules.down_after_s:g})",
    )  # fmt: skip


def check(options: argparse.Namespace) -> None:
    """Before anything is begun, a look at what runs included: whether the arguments fit together, and the settings."""
    stack_options(options)
    Ports.from_environment()
    if find_spec("pydantic") is not None:  # before set-up there is none; it is checked again by what uses it
        from marserve.web.settings import WebSettings

        WebSettings.from_environment(os.environ)


def run(options: argparse.Namespace) -> int:
    if options.quiet:
        QUIET.set()
    if options.check:
        return check_start(stack_options(options), Ports.from_environment())
    from marserve.stack.lifecycle import StartedOtherwiseError
    from marserve.supervision.container import serve_torchserve, serve_web
    from marserve.supervision.serving import serve

    if options.only == WEB:
        serve_web(stack_options(options), Ports.from_environment())  # does not return
    try:
        chosen, ports = stack_options(options), Ports.from_environment()
        if options.only == TORCHSERVE:
            return serve_torchserve(chosen, ports)
        confirm_replacement(chosen, RunDirectory(ports.web_port))
        return serve(chosen, ports)
    except StartedOtherwiseError as exc:
        scale = command(f"scale MODEL --workers {exc.workers}")
        scaled = f"\nor, for one model at once:\n  {scale}" if exc.workers else ""
        again = f"{command('stop')} && {same_command(sys.argv[2:], _typed())}"
        raise MarserveError(f"{exc}\nTo apply it:\n  {again}{scaled}") from exc
    except PortsTakenError as exc:
        line = same_command(sys.argv[2:], _typed() | exc.others)
        raise MarserveError(f"{exc}\nStop what listens there, or choose other ports:\n  {line}") from exc


def confirm_replacement(options: Options, run_directory: RunDirectory) -> None:
    """Have a person at a terminal agree that ``options`` take the place of what was deployed; the start says so, too.

    Raises MarserveError where they do not.
    """
    from marserve.manage.change import confirm_on_terminal

    if options.discard_deployed or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    state = State.read(run_directory.state)
    if state is not None and any(map(running, state.processes)):  # what is there is gone on with
        return
    record = DeploymentStore(run_directory).read()
    if record is not None and (replaced := replaced_by(options, record)) is not None:
        confirm_on_terminal(f"{replaced} Go on?")


def _typed() -> dict[str, str]:
    """The variables that the person gave, and not a file that is named on the command line."""
    left_out = {*FROM_FILE, *(("MARSERVE_CONFIG",) if "--config" in sys.argv else ())}
    return {name: value for name, value in given_variables().items() if name not in left_out}


def same_command(arguments: Sequence[str], variables: Mapping[str, str]) -> str:
    """The line that gives the same command with these variables; what is secret must be filled in."""
    words = (
        *(f"{name}={shlex.quote(value)}" for name, value in variables.items()),
        door("serve"),
        *map(shlex.quote, arguments),
    )
    return " ".join(words)


def stack_options(options: argparse.Namespace) -> Options:
    """``options`` as the stack takes them. Raises UsageError where they do not fit together."""
    given = {name: value for name, value in vars(options).items() if not name.startswith("autoscale")}
    del given["check"], given["quiet"]
    given["archives"] = tuple(file for place in options.archives for file in _archives_of(place))
    chosen = Options(autoscale=_rules(options), **given)
    if chosen.archives and {chosen.weights, chosen.labels, chosen.precision} != {None}:
        raise UsageError("--archive takes archives as they were built, without --weights, --labels and --precision")
    if chosen.weights_key is not None and chosen.weights in (None, UNTRAINED):
        raise UsageError("--weights-key goes with --weights FILE")
    if chosen.calibration is not None and chosen.precision != "int8":
        raise UsageError("--calibration goes with --precision int8")
    if chosen.only is not None and chosen.detach:
        raise UsageError("--only stays in the foreground: leave --detach out")
    if chosen.only == TORCHSERVE and not chosen.archives:
        raise UsageError("--only torchserve serves what is built: name it with --archive")
    if chosen.only is not None and chosen.autoscale is not None:
        raise UsageError("--autoscale is for a whole stack: with --only, an orchestrator scales")
    return chosen


def _archives_of(place: Path) -> list[Path]:
    """Itself, or what is in it: a container's command has no shell that would write ``*.mar`` out."""
    if not place.is_dir():
        return [place]
    if not (found := sorted(place.glob("*.mar"))):
        raise UsageError(f"--archive: {place} holds no *.mar")
    return found


def _rules(options: argparse.Namespace) -> Rules | None:
    """How the number of workers is adapted; None where autoscaling is off."""
    target_ms, quiet_s = options.autoscale_target, options.autoscale_quiet
    if options.autoscale is None:
        if target_ms is not None or quiet_s is not None:
            raise UsageError("--autoscale-target and --autoscale-quiet go with --autoscale MIN..MAX")
        return None
    if options.workers is not None:
        raise UsageError("--autoscale chooses the number of workers: leave --workers out")
    minimum, maximum = options.autoscale
    return Rules(
        minimum,
        maximum,
        target_wait_s=Rules.target_wait_s if target_ms is None else target_ms / 1000,
        down_after_s=Rules.down_after_s if quiet_s is None else quiet_s,
    )
