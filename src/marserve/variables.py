"""Environment variables: all of ours begin with MARSERVE_, and the names from before that are still read."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping

from marserve.paths import absolute
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
#: A relative path in these means the directory that the command is started in, wherever its processes run.
PATHS = ("MARSERVE_HOME", "MARSERVE_API_KEYS_FILE", "MARSERVE_KEY_FILE", "MARSERVE_FEEDBACK_DIR")


def variable(setting: str) -> str:
    """The environment variable of ``setting``: MARSERVE_WEB_PORT of web_port."""
    return PREFIX + setting.upper()


def given_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of ours that are set; of keys only that they are, since this is shown and stored."""
    secret = {variable("api_keys"), variable("classify_api_key")}
    return {name: "..." if name in secret else environ[name] for name in sorted(environ) if name.startswith(PREFIX)}


def prepare_environment(environ: MutableMapping[str, str] = os.environ) -> None:
    """At the start of a command: read old names, with a line for all of them, and make paths absolute.

    A new name wins over its old one. Child processes find the new names, and so do not warn again.
    """
    adopted = [name for name in OLD_NAMES if environ.get(name) and PREFIX + name not in environ]
    for name in adopted:
        environ[PREFIX + name] = environ[name]
    if adopted:
        renamed = ", ".join(f"{name} is now {PREFIX}{name}" for name in adopted)
        complain(f"Environment variables have new names: {renamed}. The old names still work.")
    for name in PATHS:
        if environ.get(name):
            environ[name] = str(absolute(environ[name]))
