"""``marserve COMMAND``: finds the command's module, reads its arguments and runs it.

A command's module has its help as docstring, ``add_arguments(parser)``, ``run(options)``, which answers the exit
status, and ``NEEDS``: the group of packages to go on with, None where the standard library is enough. It may have an
``EPILOG`` for the help, with examples, and ``check(options)``, which is called before set-up and says what is in vain.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from marserve import __version__
from marserve.arguments import Parser, UsageError, did_you_mean, file
from marserve.cli.operating import web_port
from marserve.errors import MarserveError
from marserve.paths import CLONE, FROM_FILE, as_here
from marserve.running import run_command
from marserve.setup.environment import continue_in_environment, is_installed
from marserve.stack.run_directory import check_started
from marserve.terminal import complain
from marserve.variables import FILE_NAME, ConfigFile, ConfigFileError, NoTomlError, prepare_environment, variable

#: Each command, which is a module of this package, and what it does.
COMMANDS = {
    "serve": "set up, build the archive, start the stack and keep it up",
    "stop": "stop what serve started, and nothing else",
    "status": "models, versions, workers, queues and rates on one screen",
    "scale": "change the number of workers",
    "deploy": "make a new version the default, after checking it",
    "rollback": "make the version before the default again",
    "drain": "remove the workers of a version once it is idle",
    "recover": "replace dead workers that TorchServe still lists",
    "logs": "the logs of all services, merged by time",
    "token": "print a token for TorchServe's own APIs",
    "build": "build an archive: weights and labels in, a checked .mar out",
    "classify": "classify pictures: files, folders and patterns",
    "bulk": "classify millions of pictures into Parquet, on all cores or a Ray cluster",
    "feedback": "reports of wrong answers: count, export, delete",
    "sbom": "print a bill of materials (CycloneDX), and why known holes are not reached",
    "plan": "how many pods some traffic takes; plan measure: what one does",
    "doctor": "print what a bug report needs: versions, machine, settings, errors",
    "completion": "print shell code that completes these commands",
    "setup": "in a clone: install the packages of one group into .venv",
}
PRECEDENCE = (
    f"values come from the command line, else from environment variables (MARSERVE_...), else from {FILE_NAME}, whose "
    "table of a command has its options"
)
#: The variables that say the same as an option, and win over a file.
OPTION_VARIABLES = {
    "port": "MARSERVE_WEB_PORT",
    "api_key": "MARSERVE_CLASSIFY_API_KEY",
    "dir": "MARSERVE_FEEDBACK_DIR",
}
#: What puts right an environment that has lost something, or was made for another machine.
AGAIN = f" Remove {CLONE}/.venv, and the next command installs it anew."
EXIT_STATUS = "exit status: 0 done; 1 it failed, and why is on standard error; 2 wrong arguments or settings"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(lambda: _main(given))


def _main(given: list[str]) -> int:
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0 if given else 2
    if given[0] in ("-V", "--version"):
        print(f"marserve {__version__}")
        return 0
    name, *rest = given
    if name == "help":
        return _main([*rest[:1], "--help"])
    if name.startswith("-"):
        complain(as_here(f"marserve: {name} comes after a command: marserve COMMAND {name} ..."))
        return 2
    if name not in COMMANDS:
        near = did_you_mean(name, COMMANDS) or f"; there are: {', '.join(COMMANDS)}"
        complain(f"marserve: there is no command {name!r}{near}")
        return 2
    try:
        config = prepare_environment(config=_config_option(name, rest), commands=COMMANDS)
    except NoTomlError:
        if (group := _module(name).NEEDS) is None:
            raise
        continue_in_environment(group, name, rest)  # there it can be read
        raise
    return _run(name, rest, config)


def _config_option(name: str, arguments: Sequence[str]) -> Path | None:
    """The file that --config names: what it says must be known before the other options are read."""
    parser = Parser(prog=as_here(f"marserve {name}"), add_help=False)
    _add_config(parser)
    chosen: Path | None = parser.parse_known_args(arguments)[0].config
    return chosen


def _add_config(parser: Parser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", type=file,
        help=f"settings and options (default: variable MARSERVE_CONFIG, else {FILE_NAME} here, in MARSERVE_HOME, or in "
        "the clone)",
    )  # fmt: skip


def parser_of(name: str) -> Parser:
    """The parser of command ``name``."""
    command = _module(name)
    epilog = getattr(command, "EPILOG", "")
    if "exit status" not in epilog:
        epilog = f"{epilog}\n\n{EXIT_STATUS}"
    epilog = f"{epilog}\n\n{PRECEDENCE}"
    parser = Parser(
        prog=as_here(f"marserve {name}"), description=as_here(command.__doc__ or ""), epilog=as_here(epilog)
    )
    command.add_arguments(parser)
    _add_config(parser)
    return parser


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"marserve.cli.{name}")


def read(name: str, arguments: Sequence[str], config: ConfigFile | None = None) -> argparse.Namespace:
    """The options of command ``name``; wrong arguments end the process with status 2 and say what is right.

    Raises ConfigFileError for wrong ones in ``config``.
    """
    parser = parser_of(name)
    if config is not None:
        try:
            parser.take_defaults(dict(_options(config, name)), config.path.parent)
        except ValueError as exc:
            raise ConfigFileError(f"{config.path}: [{name}]: {exc}") from exc
    options = parser.read(arguments)
    del options.config  # it was read before
    if check := getattr(_module(name), "check", None):
        with _usage_errors(parser):
            check(options)
    return options


def _options(config: ConfigFile, name: str) -> Iterator[tuple[str, object]]:
    """Those of ``config`` for command ``name``, without any that a variable of the environment stands for and sets."""
    for option, value in config.commands.get(name, {}).items():
        named = OPTION_VARIABLES.get(option)
        if named is None or named in FROM_FILE or not os.environ.get(named):
            yield option, value


def _run(name: str, arguments: Sequence[str], config: ConfigFile | None = None) -> int:
    options = read(name, arguments, config)
    if port := getattr(options, "port", None):
        os.environ[variable("web_port")] = str(port)  # so that what is said names this stack
    command = _module(name)
    if (group := getattr(options, "only", None) or command.NEEDS) is not None:
        # Set-up takes long. The logs of a stack that has ended are still to be read.
        if CLONE is not None and "port" in options and name != "logs":
            check_started(web_port(options))
        if not getattr(options, "check", False) or is_installed(group):
            continue_in_environment(group, name, arguments)
    with _usage_errors(parser_of(name)):
        try:
            return int(command.run(options))
        except ImportError as exc:
            raise MarserveError(f"A package does not load: {exc}.{AGAIN if CLONE else ''}") from exc


@contextmanager
def _usage_errors(parser: Parser) -> Iterator[None]:
    try:
        yield
    except UsageError as exc:
        parser.error(str(exc))


def _overview() -> str:
    commands = "\n".join(f"  {name:<12}{summary}" for name, summary in COMMANDS.items())
    return as_here(f"usage: marserve COMMAND ...\n\n{commands}\n\nmarserve COMMAND --help explains one; --version")


def _complete() -> None:
    """Answer the shell and end, where argcomplete is there."""
    try:
        import argcomplete
    except ImportError:
        return
    parser = Parser(prog="marserve")
    commands = parser.add_subparsers()
    for name in COMMANDS:
        command = commands.add_parser(name)
        _module(name).add_arguments(command)
        _add_config(command)
    argcomplete.autocomplete(parser)
