"""What ``serve`` prints once the stack answers: where, and a command that shows it."""

from __future__ import annotations

import shlex
from pathlib import Path

from marserve.paths import CLONE, EXAMPLE_PICTURE, command
from marserve.stack.run_directory import RunDirectory
from marserve.stack.state import State
from marserve.system.loopback import reachable_address
from marserve.system.ports import LOOPBACK


def addresses(state: State, run_directory: RunDirectory) -> list[str]:
    """The lines for ``state``; the curl line works as it stands in the directory where this runs."""
    ports = state.ports
    web = f"http://{_url_host(reachable_address(state.host))}:{ports.web_port}"
    inference = f"http://{LOOPBACK}:{ports.inference_port}/predictions"
    lines = [f"  {'page:':<20}{web}{_where(state.host)}", f"  {'documentation:':<20}{web}/docs"]
    lines += [f"  {model.name + ':':<20}{inference}/{model.name}{_remark(model.trained)}" for model in state.models]
    lines += [
        f"  {'management:':<20}http://{LOOPBACK}:{ports.management_port}",
        f"  {'metrics:':<20}{web}/metrics, http://{LOOPBACK}:{ports.metrics_port}/metrics",
        f"  {'logs:':<20}{run_directory.logs}",
        f"Try it:   curl -F file=@{_shown(EXAMPLE_PICTURE)} {web}/predict",
        f"Stop it:  {command('stop')}",
    ]
    return lines


def _where(host: str) -> str:
    return "" if host == LOOPBACK else f"  (listens on {host})"


def _url_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _remark(trained: bool) -> str:
    return "" if trained else "  (untrained: its labels mean nothing)"


def _shown(path: Path) -> str:
    """``path`` as a shell word: relative in a clone's root, where people mostly are, else absolute."""
    real = path.resolve()
    return str(real.relative_to(CLONE)) if CLONE is not None and Path.cwd() == CLONE else shlex.quote(str(real))
