"""What ``serve`` prints once the stack answers: where, and a command that shows it."""

from __future__ import annotations

import shlex
from pathlib import Path

from stack.paths import EXAMPLE_PICTURE, ROOT
from stack.ports import LOOPBACK, Ports
from stack.run_directory import RunDirectory
from stack.state import State
from stack.web_service import reachable_address


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
        f"Stop it:  {_variable(ports)}{_shown(ROOT / 'scripts' / 'stop')}",
    ]
    return lines


def _where(host: str) -> str:
    return "" if host == LOOPBACK else f"  (listens on {host})"


def _url_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _remark(trained: bool) -> str:
    return "" if trained else "  (untrained: its labels mean nothing)"


def _variable(ports: Ports) -> str:
    return "" if ports.web_port == Ports.web_port else f"WEB_PORT={ports.web_port} "


def _shown(path: Path) -> str:
    """``path`` as a shell word: relative in the repository's root, where people mostly are, else absolute."""
    if Path.cwd() != ROOT:
        return shlex.quote(str(path))
    relative = path.relative_to(ROOT)
    return f"./{relative}" if relative.parts[0] == "scripts" else str(relative)
