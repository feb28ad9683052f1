"""Arguments of the command line: how they are parsed, their types, and the options that several commands have.

Only the standard library: a bare system Python reads the arguments before anything is set up.
"""

from __future__ import annotations

import argparse
import difflib
import ipaddress
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, NoReturn

from marserve.paths import absolute, expanded

#: In place of a weights file.
UNTRAINED = "untrained"


class UsageError(Exception):
    """Arguments that do not fit together; the command ends as it does for one that is wrong by itself."""


class Parser(argparse.ArgumentParser):
    """Options have one spelling, and a near miss is answered with it.

    Two of argparse's own methods are replaced: what it says of a wrong choice is Python, and its usage is longer than
    most of its complaints.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_HelpFormatter, allow_abbrev=False, **settings)

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse ``arguments``; wrong ones end the process with status 2 and say what is right."""
        # First, since argparse would rather miss the required option that was mistyped.
        for word in takewhile(lambda word: word != "--", arguments):
            option = word.partition("=")[0]
            if option.startswith("--") and option not in self._option_string_actions:
                self.error(f"there is no option {option}{did_you_mean(option, self._option_string_actions)}")
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            wrong = unknown[0]
            self.error(f"there is no option {wrong}" if wrong[0] == "-" else f"{wrong!r} is one argument too many")
        return options

    def take_defaults(self, given: Mapping[str, Any], base: Path) -> None:
        """Options of a file, by their names with or without dashes; its paths are relative to ``base``.

        Raises ValueError for what is no such option or no value of it, with the option's name.
        """
        for name, value in given.items():
            option = f"--{name.replace('_', '-')}"
            action = self._option_string_actions.get(option)
            if action is None or name in ("help", "config"):
                known = [option.lstrip("-").replace("-", "_") for option in self._option_string_actions]
                raise ValueError(f"there is no option {name}{did_you_mean(name, known)}")
            if isinstance(value, bool) is not (action.nargs == 0):
                raise ValueError(f"{name} is true or false" if action.nargs == 0 else f"{name} has a value")
            values = value if isinstance(value, list) else [value]
            if len(values) != 1 and action.nargs not in ("+", "*"):
                raise ValueError(f"{name} has one value")
            if action.nargs != 0:
                words = [_from(base, str(one)) if action.type in PATH_TYPES else str(one) for one in values]
                try:
                    value = self._get_values(action, words)  # argparse's own, as of the command line
                except argparse.ArgumentError as exc:
                    raise ValueError(f"{name}: {exc.message}") from exc
            self.set_defaults(**{action.dest: value})
            action.required = False

    def error(self, message: str) -> NoReturn:
        """End the process with status 2, the usage without what may be left out, and ``message``."""
        usage = self.formatter_class(prog=f"{self.prog} [OPTION ...]")
        needed = [action for action in self._actions if action.required or not action.option_strings]
        usage.add_usage(None, needed, [])
        explained = f"{usage.format_help().rstrip()}   (--help lists all)\n"
        self.exit(2, f"{explained}{self.prog}: {message.removeprefix('argument ')}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            known = did_you_mean(str(value), choices) or f"; there are: {', '.join(choices)}"
            raise argparse.ArgumentError(action, f"there is no {value!r}{known}")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Paragraphs are wrapped, while blocks with indented lines, such as examples, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:  # noqa: ARG002 - argparse's signature
        blocks = text.strip().split("\n\n")
        return "\n\n".join(block if "\n " in block else textwrap.fill(block, width) for block in blocks)


def did_you_mean(word: str, words: Iterable[str], *, least: float = 0.6) -> str:
    """The end of a complaint about ``word``: the one of ``words`` that was probably meant, if any is like it by
    ``least``, 0 to 1."""
    # Dashes and capitals would make everything alike, or nothing.
    bare = {other.lstrip("-").lower(): other for other in words}
    meant = word.lstrip("-").lower()
    near = difflib.get_close_matches(meant, bare, n=1, cutoff=least) or [
        other for other in bare if meant and other.startswith(meant)
    ]
    return f"; did you mean {bare[near[0]]}?" if near else ""


def whole(least: int, most: int) -> Callable[[str], int]:
    """The type of a whole number within bounds."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return int(text)

    return parse


def real(least: float, most: float) -> Callable[[str], float]:
    """The type of a number within bounds, which may have decimals."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
        return value

    return parse


def percentage(least: float, most: float) -> Callable[[str], float]:
    """The type of a share between bounds, which are percent; it is written with its sign, 5%, or as 0.05."""

    def parse(text: str) -> float:
        is_percent = text.endswith("%")
        try:
            value = float(text.removesuffix("%")) / (100 if is_percent else 1)
        except ValueError:
            value = float("nan")
        if not least <= value * 100 <= most:
            meant = f"; did you mean {text}%?" if least <= value <= most else ""
            raise argparse.ArgumentTypeError(f"{text!r} is not a share from {least:g}% to {most:g}%{meant}")
        return value

    return parse


def rising_percentages(text: str) -> tuple[float, ...]:
    """One share or several, each larger than the one before, such as 5%,25%,100%."""
    shares = tuple(map(percentage(0.1, 100), text.split(",")))
    if any(later <= earlier for earlier, later in pairwise(shares)):
        raise argparse.ArgumentTypeError(
            f"{text!r}: each share must be larger than the one before, such as 5%,25%,100%"
        )
    return shares


port = whole(1, 65535)
share = real(0, 1)


def positive(text: str) -> float:
    """A number above 0."""
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text) or float(text) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return float(text)


def bounds(text: str) -> tuple[int, int]:
    """A range of workers, such as 1..4."""
    match = re.fullmatch(r"([1-9]\d{0,3})\.\.([1-9]\d{0,3})", text)
    if match is None or int(match[1]) > int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of workers such as 1..4")
    return int(match[1]), int(match[2])


def file(text: str) -> Path:
    """A file that is there, as an absolute path."""
    path = file_or_folder(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder, and a file is needed")
    return path


def folder(text: str) -> Path:
    """A folder that is there, as an absolute path."""
    path = absolute(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(
            f"{text} is a file, and a folder is needed" if path.exists() else f"folder {text} does not exist"
        )
    return path


def file_or_folder(text: str) -> Path:
    """What is there, as an absolute path."""
    path = absolute(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path


def weights(text: str) -> Path | str:
    """A file or a folder that is there, or ``untrained``."""
    if text == UNTRAINED:
        return text
    try:
        return file_or_folder(text)
    except argparse.ArgumentTypeError as exc:
        raise argparse.ArgumentTypeError(f"{exc}{did_you_mean(text, [UNTRAINED])}") from exc


#: Of options that name a place.
PATH_TYPES = (file, folder, file_or_folder, weights, expanded)


def _from(base: Path, text: str) -> str:
    return text if text == UNTRAINED else str(base / expanded(text))


def address(text: str) -> str:
    """An IP address."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address such as 127.0.0.1 or 0.0.0.0") from None


def add_archive_options(parser: argparse.ArgumentParser) -> None:
    """What an archive is built from: ``--weights --weights-key --labels --precision --calibration``."""
    parser.add_argument(
        "--weights", metavar="FILE", type=weights,
        help="state dict or checkpoint of a training program (.pth, .pt, .ckpt, .safetensors), a folder of Hugging "
        f"Face's, or '{UNTRAINED}' for seeded random weights (default: the official ImageNet weights, from the torch "
        f"hub cache or downloaded; else {UNTRAINED})",
    )  # fmt: skip
    parser.add_argument(
        "--weights-key", metavar="NAME",
        help="which network to take from a checkpoint with several, such as model_ema; without it they are listed",
    )  # fmt: skip
    parser.add_argument(
        "--labels", metavar="FILE", type=file_or_folder,
        help="class names: text, one a line or with their indices (0 cat; cat,0); CSV; JSON (list, id2label, "
        "class_to_idx, also inside a larger file); YAML with names; or the training folder with a subfolder for each "
        "class (default: ImageNet's)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=["auto", "f32", "bf16", "int8"],
        help="what the network computes in; auto is bf16 where the processor has it (default: as in "
        "config/model-config.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--calibration", metavar="DIR", type=folder,
        help="100 or more pictures like those to be classified: int8 is fitted to half of them and judged by the "
        "others; needed for int8 unless the archive at hand was built with them",
    )  # fmt: skip


def add_quiet(parser: argparse.ArgumentParser, meaning: str) -> None:
    """``-q``."""
    parser.add_argument("-q", "--quiet", action="store_true", help=meaning)


def add_port(parser: argparse.ArgumentParser) -> None:
    """Which stack."""
    parser.add_argument(
        "--port", type=port, metavar="PORT",
        help="the stack, by its web port (default: environment variable MARSERVE_WEB_PORT, else 5000)",
    )  # fmt: skip
