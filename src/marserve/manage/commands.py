"""Runs one command of ``scripts/manage.py`` and prints what came of it."""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from marserve.client.errors import ClientError
from marserve.errors import MarserveError, StopRequestedError
from marserve.manage import deployment, draining, metrics, recovery, rollback, scaling
from marserve.manage.change import Confirm, DeclinedError, NeedsConsentError, Report, always_yes, confirm_on_terminal
from marserve.manage.deployment import ArchiveFile, Plan
from marserve.manage.following import Follower
from marserve.manage.rendering import render_line, render_status
from marserve.manage.running_stack import RunningStack
from marserve.manage.status import Status, read_status
from marserve.pictures import describe_skipped, find_pictures
from marserve.stack.run_directory import RunDirectory
from marserve.terminal import complain, say
from marserve.torchserve.log_lines import LogLine, log_files, merged

#: Moves to the top left and clears what is below, without the flicker of clearing first.
HOME, CLEAR_BELOW, CLEAR_LINE = "\033[H", "\033[J", "\033[K"


def run(options: Namespace) -> int:
    """The exit status; failures that a person can put right are told in a line or two."""
    try:
        if options.command == "logs":  # which stay when the stack has ended
            return _logs(RunDirectory(options.port).logs, options)
        return _COMMANDS[options.command](RunningStack.find(options.port), options)
    except (MarserveError, ClientError) as exc:
        complain(f"manage.py {options.command}: {exc}")
        return 1
    except DeclinedError as exc:
        complain(str(exc))
        return 1
    except NeedsConsentError as exc:
        complain(f"manage.py {options.command}: {exc}")
        return 2
    except BrokenPipeError:  # what reads it, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still wants to write
        return 1


def _status(stack: RunningStack, options: Namespace) -> int:
    with stack.management() as management:
        before = metrics.look(stack)
        while True:
            try:
                time.sleep(options.interval)
            except StopRequestedError:
                if options.watch:
                    return 0
                raise
            after = metrics.look(stack)
            status = read_status(stack, management, before, after)
            _show_status(status, options)
            if not options.watch:
                return 1 if status.problems else 0
            before = after


def _show_status(status: Status, options: Namespace) -> None:
    if options.json:
        say(json.dumps(status.as_json()))
    elif options.watch and sys.stdout.isatty():
        lines = render_status(status).replace("\n", f"{CLEAR_LINE}\n")
        say(f"{HOME}{lines}{CLEAR_LINE}\n{CLEAR_BELOW}")
    else:
        say(render_status(status))


def _scale(stack: RunningStack, options: Namespace) -> int:
    scaled = scaling.scale(
        stack, options.model, options.version, options.workers,
        force=options.force, confirm=_confirm(options), report=_report(options),
    )  # fmt: skip
    return _tell(options, asdict(scaled), f"{scaled.model} {scaled.version} has {scaled.workers} workers.")


def _deploy(stack: RunningStack, options: Namespace) -> int:
    plan = Plan(
        model=options.model,
        archive=ArchiveFile.read(options.archive),
        pictures=_pictures(options),
        min_agreement=None if options.no_compare else options.min_agreement,
        workers=options.workers,
        remove_old=options.remove_old,
        force=options.force,
    )
    confirm = _confirm(options)
    if confirm is confirm_on_terminal and not sys.stdin.isatty():
        confirm(f"{plan.model} {plan.archive.version} is to become the default.")  # before any work is done for it
    deployed = deployment.deploy(stack, plan, confirm=confirm, report=_report(options))
    back = f" Back: manage.py rollback {deployed.model}" if deployed.can_roll_back else ""
    text = f"{deployed.model} {deployed.version} answers now, with {deployed.workers} workers.{back}"
    return _tell(options, asdict(deployed), text)


def _rollback(stack: RunningStack, options: Namespace) -> int:
    done = rollback.roll_back(
        stack, options.model, _pictures(options), confirm=_confirm(options), report=_report(options)
    )
    return _tell(options, asdict(done), f"{done.model} {done.version} answers again, with {done.workers} workers.")


def _drain(stack: RunningStack, options: Namespace) -> int:
    model, _, version = options.model.partition("/")
    drained = draining.drain(
        stack, model, version or None, timeout_s=options.timeout, confirm=_confirm(options), report=_report(options)
    )
    text = (
        f"{drained.model} {drained.version} has no workers any more. Back: manage.py scale {drained.model} --version "
        f"{drained.version} --workers {drained.workers_before}"
    )
    return _tell(options, asdict(drained), text)


def _recover(stack: RunningStack, options: Namespace) -> int:
    done = recovery.recover(stack, confirm=_confirm(options), report=_report(options))
    return _tell(options, {"recovered": [asdict(one) for one in done]}, "")


def _logs(logs: Path, options: Namespace) -> int:
    if not logs.is_dir():
        raise MarserveError(f"{logs} does not exist: nothing was started on web port {options.port} yet.")
    follower = Follower(logs)
    lines = [line for line in merged(log_files(logs)) if line.is_error or not options.errors]
    try:
        _print_lines(lines[len(lines) - min(options.lines, len(lines)) :], options)
        if options.follow:
            for line in follower.follow():
                if line.is_error or not options.errors:
                    _print_lines([line], options)
    except StopRequestedError:
        pass
    return 0


def _print_lines(lines: list[LogLine], options: Namespace) -> None:
    for line in lines:
        say(json.dumps(line.as_json()) if options.json else render_line(line))


def _confirm(options: Namespace) -> Confirm:
    return always_yes if options.yes else confirm_on_terminal


def _report(options: Namespace) -> Report:
    return complain if options.json else say


def _pictures(options: Namespace) -> list[Path]:
    found = find_pictures(options.pictures)
    if found.skipped:
        complain(describe_skipped(found.skipped))
    return [Path(picture.path) for picture in found.pictures]


def _tell(options: Namespace, result: dict[str, Any], text: str) -> int:
    if options.json:
        say(json.dumps(result))
    elif text:
        say(text)
    return 0


_COMMANDS: dict[str, Callable[[RunningStack, Namespace], int]] = {
    "status": _status,
    "scale": _scale,
    "deploy": _deploy,
    "rollback": _rollback,
    "drain": _drain,
    "recover": _recover,
}
