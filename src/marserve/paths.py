"""Where things are: what the package carries, and where a running stack keeps its files."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
#: What goes into an archive; a link in a clone, files in an installed package.
HANDLER = PACKAGE / "handler"
CONFIG = PACKAGE / "config"
#: Pictures to try a model with, and ``list.json``, which describes those that the page offers.
EXAMPLES = PACKAGE / "examples"
#: The one that shows that a model really answers.
EXAMPLE_PICTURE = EXAMPLES / "cat.jpg"


def _clone() -> Path | None:
    root = PACKAGE.parent.parent
    return root if (root / "scripts" / "marserve").is_file() and (root / "pyproject.toml").is_file() else None


def working_directory() -> Path:
    """The directory that the command is started in; the root where that has been removed since."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def absolute(text: str) -> Path:
    """``text`` as an absolute path; see ``expanded``."""
    return working_directory() / expanded(text)


def expanded(text: str) -> Path:
    """``text`` with a ``~`` replaced, which stays where there is no such home, as in a shell."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's own raises there


#: The root of the clone that this runs in; None where the package was installed.
CLONE = _clone()
#: Where state and built archives go: MARSERVE_HOME, else the clone, else the directory that the command is started in.
HOME = absolute(os.environ.get("MARSERVE_HOME") or str(CLONE or working_directory()))
#: The variables whose values come from a file, so that what is said to be typed leaves them out.
FROM_FILE: set[str] = set()
#: What running stacks and set-up leave behind; ignored by git.
RUN = HOME / ".run"
MODEL_STORE = HOME / "model_store"


def door(text: str) -> str:
    """``text``, such as ``scale resnet18 --workers 2``, as a command that works here: in a clone by its scripts."""
    if CLONE is None:
        return f"marserve {text}"
    scripts = CLONE / "scripts"
    script = text if (scripts / text.split()[0]).exists() else f"marserve {text}"
    return f"./scripts/{script}" if working_directory() == CLONE else f"{shlex.quote(str(scripts))}/{script}"


def command(text: str) -> str:
    """As ``door``, and for the stack that the person means, so that it works when it is pasted."""
    home, config, port = (os.environ.get(f"MARSERVE_{name}") for name in ("HOME", "CONFIG", "WEB_PORT"))
    name, line = text.split()[0], door(text)
    named = config and "MARSERVE_CONFIG" not in FROM_FILE
    if named:
        line = f"{line} --config {shlex.quote(str(config))}"
    if port not in (None, "", "5000") and name != "build" and not (named and "MARSERVE_WEB_PORT" in FROM_FILE):
        if name != "serve":
            line = f"{line} --port {port}"
        elif "MARSERVE_WEB_PORT" not in FROM_FILE:
            line = f"MARSERVE_WEB_PORT={port} {line}"
    return f"MARSERVE_HOME={shlex.quote(home)} {line}" if home else line


def as_here(text: str) -> str:
    """``text`` with each command that it names, such as ``marserve stop``, as it works here."""
    return re.sub(r"\bmarserve ([a-z]+|COMMAND)\b", lambda match: door(match[1]), text)
