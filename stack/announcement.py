"""What ``serve`` prints once the stack answers: where, and a command that shows it."""

from __future__ import annotations

import shlex
from pathlib import Path

from stack.paths import EXAMPLE_PICTURE, ROOT
from stack.ports import LOOPBACK, Ports
from stack.run_directory import RunDirectory
from stack.state import State


def addresses(state: State, run_directory: RunDirectory) -> list[str]:
    """The lines for ``state``; the curl line works as it stands in the directory where this runs."""
    ports = state.ports
    inference = f"http://{LOOPBACK}:{ports.inference_port}/predictions"
    trained = [model.name for model in state.models if model.trained] or [model.name for model in state.models]
    lines = [f"  {model.name + ':':<20}{inference}/{model.name}{_remark(model.trained)}" for model in state.models]
    lines += [
        f"  {'management:':<20}http://{LOOPBACK}:{ports.management_port}",
        f"  {'metrics:':<20}http://{LOOPBACK}:{ports.metrics_port}/metrics",
        f"  {'logs:':<20}{run_directory.logs}",
        "Try it:",
        f'  curl -H "Authorization: Bearer $({_variable(ports)}{_shown(ROOT / "scripts" / "token")})" '
        f"-F file=@{_shown(EXAMPLE_PICTURE)} {inference}/{trained[0]}",
        f"Stop it:  {_variable(ports)}{_shown(ROOT / 'scripts' / 'stop')}",
    ]
    return lines


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
