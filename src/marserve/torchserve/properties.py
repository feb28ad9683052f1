"""Java's properties files, as far as TorchServe's configuration goes: reading, and rendering with other values."""

from __future__ import annotations

from collections.abc import Mapping


def parse(text: str) -> dict[str, str]:
    """The settings in ``text``, which has one ``name=value`` a line and no escapes."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def render(settings: Mapping[str, str | int]) -> str:
    return "".join(f"{name}={_escape(str(value))}\n" for name, value in settings.items())


def _escape(value: str) -> str:
    # Java reads these files as Latin-1 and takes a backslash for the beginning of an escape.
    utf16 = value.replace("\\", "\\\\").encode("utf-16-be")
    units = (int.from_bytes(utf16[i : i + 2], "big") for i in range(0, len(utf16), 2))
    return "".join(chr(unit) if unit < 128 else f"\\u{unit:04x}" for unit in units)
