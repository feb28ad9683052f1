"""Where settings come from: environment variables, all of ours begin with MARSERVE_, else a file, ``marserve.toml``.

The file has settings under their variables' names in small letters without the prefix, and a table for each command's
options. It becomes variables here, so that whatever reads those need not know of it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marserve import paths
from marserve.arguments import did_you_mean
from marserve.errors import MarserveError
from marserve.paths import FROM_FILE, absolute
from marserve.redaction import HIDDEN, redacted
from marserve.terminal import complain

PREFIX = "MARSERVE_"
#: Without the prefix, these were the names until 0.1.
OLD_NAMES = (
    "WEB_PORT", "INFERENCE_PORT", "MANAGEMENT_PORT", "METRICS_PORT", "GRPC_INFERENCE_PORT", "GRPC_MANAGEMENT_PORT",
    "WEB_HOST", "INFERENCE_URL", "MANAGEMENT_URL", "KEY_FILE", "DEFAULT_MODEL",
    "REQUEST_DEADLINE_S", "UPLOAD_DEADLINE_S", "MAX_IN_FLIGHT", "MAX_IMAGE_BYTES", "MAX_IMAGE_PIXELS", "MAX_BODY_BYTES",
    "API_KEYS", "API_KEYS_FILE", "RATE_LIMIT_PER_MINUTE", "TRUSTED_PROXIES", "CORS_ORIGINS",
    "CACHE_URL", "CACHE_MAX_ENTRIES", "CACHE_MAX_BYTES", "CACHE_TTL_S", "DRAIN_S", "LOG_LEVEL", "CLASSIFY_API_KEY",
)  # fmt: skip
#: Every setting, by its variable's name without the prefix. HOME and CONFIG say where the file is looked for.
NAMES = (
    *OLD_NAMES,
    "NAME",
    "FEEDBACK_DIR",
    "FEEDBACK_MAX_BYTES",
    "FETCH_PICTURES",
    "ROLLOUT_FILE",
    "SUPERVISION_FILE",
    "MAX_WAITING_BYTES",
    "QUARANTINE_FILE",
    "WEB_LOCK",
    "METRICS_URL",
    "GRACE_S",
    "ARCHIVE_SHA256",
    "TLS_CERTIFICATE",
    "TLS_KEY",
    "TLS_PUBLISHED",
    "HOME",
    "CONFIG",
)
#: A relative path in these means the directory that the command is started in, or that of the file.
PATHS = tuple(
    PREFIX + name
    for name in (
        *("HOME", "CONFIG", "API_KEYS_FILE", "KEY_FILE", "FEEDBACK_DIR", "ROLLOUT_FILE", "QUARANTINE_FILE"),
        *("SUPERVISION_FILE", "WEB_LOCK"),
        *("TLS_CERTIFICATE", "TLS_KEY", "TLS_PUBLISHED"),
    )
)
#: Those that are secrets as a whole. Others, such as an address, may hold a password.
SECRETS = tuple(PREFIX + name for name in ("API_KEYS", "CLASSIFY_API_KEY", "AUTOSCALE_API_KEY"))
#: Those that are true or false.
SWITCHES = ("fetch_pictures",)
FILE_NAME = "marserve.toml"


class ConfigFileError(MarserveError):
    """The file cannot be used; the message names it and the key."""

    exit_status = 2


class NoTomlError(ConfigFileError):
    """Python 3.10 cannot read the file before set-up has installed a package for it."""


@dataclass(frozen=True)
class ConfigFile:
    path: Path
    #: Texts by the variables that they stand for.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: A command's options.
    commands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def variable(setting: str) -> str:
    """The environment variable of ``setting``: MARSERVE_WEB_PORT of web_port."""
    return PREFIX + setting.upper()


def origin(name: str) -> str:
    """The variable ``name`` as the person gave it: by itself, or as a key of the file."""
    return f"{name} (from {os.environ['MARSERVE_CONFIG']})" if name in FROM_FILE else name


def given_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of ours that are set; of secrets only that they are, since this is shown and stored."""
    return {
        name: HIDDEN if name in SECRETS else redacted(environ[name])
        for name in sorted(environ)
        if name.startswith(PREFIX)
    }


def prepare_environment(
    environ: MutableMapping[str, str] = os.environ, *, config: Path | None = None, commands: Collection[str] = ()
) -> ConfigFile | None:
    """At the start of a command: read old names, with a line for all of them, make paths absolute, and add what only
    the file says, which is answered.

    A new name wins over its old one. Child processes find the new names, and so do not warn again. What Kubernetes
    makes of the names of Services is taken out. ``config`` is the file that an option names. Raises ConfigFileError.
    """
    for name in [name for name in environ if name.startswith(PREFIX) and _is_service_link(name, environ)]:
        del environ[name]
    adopted = [
        name
        for name in OLD_NAMES
        if environ.get(name) and not _is_service_link(name, environ) and PREFIX + name not in environ
    ]
    for name in adopted:
        environ[PREFIX + name] = environ[name]
    if adopted:
        renamed = ", ".join(f"{name} is now {PREFIX}{name}" for name in adopted)
        complain(f"Environment variables have new names: {renamed}. The old names still work.")
    for name in PATHS:
        if environ.get(name):
            environ[name] = str(absolute(environ[name]))
    for name in environ:
        # Only near misses: Kubernetes makes variables of the names of services, and those of others are not ours.
        short = name.removeprefix(PREFIX)
        if short != name and short not in NAMES and (near := did_you_mean(short, NAMES, least=0.85)):
            complain(f"{name} is no setting{near.replace('mean ', f'mean {PREFIX}')}")
    found = _find_config(environ)
    path = config or (Path(environ["MARSERVE_CONFIG"]) if environ.get("MARSERVE_CONFIG") else found)
    if path is None:
        return None
    content = read_config(path, commands)
    if path == found:
        FROM_FILE.add("MARSERVE_CONFIG")
    environ["MARSERVE_CONFIG"] = str(path)  # for child processes, which are started elsewhere
    for name, value in content.settings.items():
        environ[name] = environ.get(name) or value
        if environ[name] == value:
            FROM_FILE.add(name)
    return content


def _is_service_link(name: str, environ: Mapping[str, str]) -> bool:
    """Whether Kubernetes made the variable of a Service's name: of ``marserve-web`` it makes MARSERVE_WEB_PORT."""
    return "_PORT" in name and re.match(r"(tcp|udp|sctp)://", environ[name]) is not None


def _find_config(environ: Mapping[str, str]) -> Path | None:
    home = environ.get("MARSERVE_HOME")
    places = (paths.working_directory(), *([Path(home)] if home else []), *([paths.CLONE] if paths.CLONE else []))
    return next((place / FILE_NAME for place in places if (place / FILE_NAME).is_file()), None)


def read_config(path: Path, commands: Collection[str] = ()) -> ConfigFile:
    """What is in ``path``; tables are checked where the names of ``commands`` are given. Raises ConfigFileError."""
    try:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
    except ImportError as exc:
        raise NoTomlError(f"{path} is not read: Python 3.10 needs the package tomli for it.") from exc
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as exc:
        raise ConfigFileError(f"MARSERVE_CONFIG: {path} does not exist.") from exc
    except OSError as exc:
        raise ConfigFileError(f"{path} cannot be read: {exc.strerror}.") from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigFileError(f"{path}: {exc}.") from exc
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    for name in tables:
        if commands and name not in commands:
            raise ConfigFileError(f"{path}: there is no command [{name}]{did_you_mean(name, commands)}")
    return ConfigFile(path, dict(_settings(path, content)), tables)


def _settings(path: Path, content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    names = [name.lower() for name in NAMES if name not in ("HOME", "CONFIG")]
    for key, value in content.items():
        if isinstance(value, dict):
            continue
        if key not in names:
            raise ConfigFileError(f"{path}: there is no setting {key}{did_you_mean(key, names)}")
        if key in SWITCHES:
            if not isinstance(value, bool):
                raise ConfigFileError(f"{path}: {key} is true or false")
            value = str(value).lower()
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in values):
            raise ConfigFileError(f"{path}: {key} is a text, a number or a list of these")
        name, text = variable(key), ",".join(map(str, values))
        yield name, str(path.parent / paths.expanded(text)) if name in PATHS else text
