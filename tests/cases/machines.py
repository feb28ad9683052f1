"""Environments that commands are run in, and commands with what they answer in each of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

#: Modules of an environment that is not ours; whoever imports one ends.
FOREIGN_MODULES = (
    "argparse", "encodings_of_old", "json", "marserve", "numpy", "pathlib", "psutil", "requests", "sitecustomize",
    "subprocess", "typing", "usercustomize",
)  # fmt: skip
#: A proxy that nobody reaches anything through.
NO_PROXY_THERE = "http://127.0.0.1:9"
PROXIES = dict.fromkeys(
    ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), NO_PROXY_THERE
)
#: A name that breaks what quotes badly or knows ASCII only.
AWKWARD = "Büro 'n\" 图 $HOME;"


class Machine(NamedTuple):
    """What is unlike here about the environment that a command finds."""

    name: str
    variables: Mapping[str, str] = {}
    #: Variables that are missing.
    without: tuple[str, ...] = ()
    #: Of the shell, before the command.
    before: str = ""


class Command(NamedTuple):
    """A command that neither starts nor installs anything."""

    words: str
    status: int
    #: What it says, on standard output or standard error.
    says: str


def foreign_modules(directory: Path) -> Path:
    """``directory`` with modules that end whoever imports them."""
    directory.mkdir(parents=True)
    for module in FOREIGN_MODULES:
        (directory / f"{module}.py").write_text(f"raise SystemExit('a foreign module: {module}')")
    return directory


def machines(foreign: Path) -> list[Machine]:
    """All environments; ``foreign`` is where ``foreign_modules`` are."""
    there = str(foreign)
    return [
        Machine("usual"),  # the first two are used by themselves
        Machine("foreign PYTHONPATH", {"PYTHONPATH": there}),
        Machine("foreign PYTHONHOME", {"PYTHONHOME": there}),
        Machine("foreign PYTHONUSERBASE", {"PYTHONUSERBASE": there}),
        Machine("PYTHONSAFEPATH", {"PYTHONSAFEPATH": "1"}),
        Machine("PYTHONOPTIMIZE", {"PYTHONOPTIMIZE": "2"}),
        Machine("PYTHONWARNINGS", {"PYTHONWARNINGS": "error"}),
        Machine("PYTHONDONTWRITEBYTECODE", {"PYTHONDONTWRITEBYTECODE": "1"}),
        Machine("PYTHONHASHSEED wrong", {"PYTHONHASHSEED": "abc"}),
        Machine("PYTHONPLATLIBDIR", {"PYTHONPLATLIBDIR": "nowhere"}),
        Machine("PYTHONINSPECT", {"PYTHONINSPECT": "1"}),
        Machine("PYTHONIOENCODING", {"PYTHONIOENCODING": "ascii"}),
        Machine("ASCII alone", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        Machine("LC_ALL=C", {"LC_ALL": "C"}),
        Machine("LC_ALL=POSIX", {"LC_ALL": "POSIX"}),
        Machine("proxies", PROXIES, without=("NO_PROXY", "no_proxy")),
        Machine("no HOME", without=("HOME",)),
        Machine("HOME empty", {"HOME": ""}),
        Machine("HOME missing", {"HOME": "/nonexistent/home"}),
        Machine("HOME a file", {"HOME": "/dev/null"}),
        Machine("no names", without=("USER", "LOGNAME", "TERM", "SHELL", "LANG")),
        Machine("TERM unknown", {"TERM": "abc"}),
        Machine("TMPDIR missing", {"TMPDIR": "/nonexistent/tmp"}),
        Machine("PYTHON missing", {"PYTHON": "/nonexistent/python"}),
        Machine("standard input closed", before="exec <&-"),
        Machine("umask 077", before="umask 077"),
        Machine("umask 000", before="umask 000"),
        Machine("working directory not writable", before="cd /proc"),
        Machine("CDPATH", {"CDPATH": "/usr:/"}),
        Machine("POSIX shell", {"POSIXLY_CORRECT": "1"}),
        Machine("few files", before="ulimit -n 16"),
        Machine("no file may grow", before="ulimit -f 0"),
    ]


#: In a clone where nothing was ever started.
COMMANDS = [
    Command("serve --help", 0, "usage: "),
    Command("stop", 0, "Nothing is running on web port 5999."),
    Command("token", 1, "Nothing is running on web port 5999: start it with "),
]
#: These too say what is wrong before they install anything.
FIRST_COMMANDS = [
    *COMMANDS,
    Command("marserve --version", 0, "marserve "),
    Command("marserve status", 1, "Nothing is running on web port 5999: start it with "),
    Command("marserve", 2, "usage: "),
    Command("marserve statsu", 2, "did you mean status?"),
    Command("marserve logs", 1, "nothing was started on web port 5999 yet"),
    Command("marserve scale resnet18 --workers 2", 1, "Nothing is running on web port 5999"),
    Command("marserve rollback resnet18", 1, "Nothing is running on web port 5999"),
    Command("marserve drain resnet18", 1, "Nothing is running on web port 5999"),
    Command("marserve recover", 1, "Nothing is running on web port 5999"),
    Command("marserve deploy resnet18 --archive pyproject.toml", 1, "Nothing is running on web port 5999"),
    Command("marserve build --labels nowhere.txt", 2, "--labels: nowhere.txt does not exist"),
    Command("marserve build --weights ~nobody-here/x.pth", 2, "--weights: ~nobody-here/x.pth does not exist"),
    Command("marserve serve --calibration .", 2, "--calibration goes with --precision int8"),
    Command("marserve classify", 2, "name a picture, a folder or a pattern"),
    Command("marserve setup nothing", 2, "there is no 'nothing'"),
    Command("manage.py status", 1, "Nothing is running on web port 5999"),
    Command("manage.py", 2, "usage: "),
    Command("build_archive.py --help", 0, "usage: "),
    Command("classify.py --help", 0, "usage: "),
    Command("test --help", 0, "usage: "),
    Command("check --help", 0, "usage: "),
    Command("bench --help", 0, "usage: "),
    Command("lock --help", 0, "usage: "),
]


class Write(NamedTuple):
    """A command whose standard output takes nothing."""

    words: str
    #: Where its output goes, in the shell.
    to: str
    status: int
    #: The whole of what it says on standard error.
    says: str


FULL = "The disk is full (No space left on device): free some space, then run the same command again.\n"
SPEAKING = ("stop", "serve --help", "marserve --help", "marserve --version")
WRITES = [
    *(Write(words, ">/dev/full", 1, FULL) for words in SPEAKING),
    *(Write(words, "| true", 0, "") for words in SPEAKING),
    *(Write(words, ">&-", 0, "") for words in SPEAKING),
    Write("token", "2>&-", 1, ""),
    Write("token", ">&- 2>&- <&-", 1, ""),
]


def variables_of(machine: Machine, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a command finds on ``machine``; a coverage run follows it there."""
    kept = {name: value for name, value in environ.items() if name not in machine.without}
    return {"MARSERVE_WEB_PORT": "5999", **kept, **machine.variables}


def all_at_once(foreign: Path) -> dict[str, str]:
    """The variables of the hardest of them; what is not named is missing."""
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    elsewhere = {
        "PYTHONPATH": str(foreign),
        "PYTHONHOME": str(foreign),
        "PYTHONOPTIMIZE": "2",
        "PYTHONWARNINGS": "error",
    }
    return {"PATH": os.environ["PATH"], **PROXIES, **ascii_alone, **elsewhere}
