"""TorchServe's tokens: reading them from its key file, and having them renewed before they expire.

A renewed token replaces the one before it at once, so everything that calls TorchServe reads the file again when it is
refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

from marserve.errors import MarserveError
from marserve.stack.run_directory import RunDirectory
from marserve.system.locks import locked
from marserve.system.loopback import request
from marserve.system.ports import LOOPBACK
from marserve.system.waiting import wait_until

Kind = Literal["inference", "management"]

#: A token that is valid for less than this is renewed; TorchServe's are valid for an hour.
MARGIN = timedelta(minutes=5)
#: Seconds to go on reading a key file that TorchServe is just writing: it does not replace it in one step.
READ_S = 2.0


@dataclass(frozen=True)
class Token:
    """A token and the time after which TorchServe refuses it."""

    key: str
    expires: datetime


def current_token(run_directory: RunDirectory, management_port: int, kind: Kind) -> str:
    """A token that is valid for ``MARGIN`` at least, renewed if need be. Raises MarserveError where there is none."""
    return valid_token(run_directory.key_file, run_directory.token_lock, management_port, kind).key


def valid_token(
    key_file: Path, lock: Path, management_port: int, kind: Kind, *, host: str = LOOPBACK, refused: str | None = None
) -> Token:
    """A token that is valid for ``MARGIN`` at least and is not the ``refused`` one, renewed under ``lock`` if need be.

    Raises MarserveError where there is none.
    """
    token = read_token(key_file, kind)
    if is_fresh(token) and token.key != refused:
        return token
    with locked(lock, timeout_s=30):
        token = read_token(key_file, kind)
        if not is_fresh(token) or token.key == refused:  # nobody else has renewed it meanwhile
            api_key = str(_read(key_file)["API"]["key"])
            reply = request("GET", management_port, f"/token?type={kind}", token=api_key, host=host)
            if reply is None or reply.status != 200:
                answer = "nothing" if reply is None else f"status {reply.status}"
                raise MarserveError(f"TorchServe answered {answer} when asked to renew its {kind} token: is it up?")
            token = read_token(key_file, kind)
    return token


def read_token(key_file: Path, kind: Kind) -> Token:
    """The token as it stands in ``key_file``. Raises MarserveError where there is none."""
    entry = _read(key_file)[kind]
    return Token(entry["key"], _parse_time(entry["expiration time"]))


def is_fresh(token: Token) -> bool:
    """Whether it is valid for ``MARGIN`` at least."""
    return token.expires - datetime.now(timezone.utc) > MARGIN


def _parse_time(text: str) -> datetime:
    # Java writes up to nine decimals of a second, and none where they are zero; Python 3.10 reads six, and no Z.
    seconds = text.rstrip("Z").partition(".")[0]
    return datetime.fromisoformat(seconds).replace(tzinfo=timezone.utc)


def _read(key_file: Path) -> dict[str, dict[str, str]]:
    content = wait_until(lambda: _parse(key_file), READ_S, poll_s=0.05, while_alive=key_file.exists)
    if content is None:
        raise MarserveError(f"{key_file} cannot be read: is the stack running?")
    return content


def _parse(key_file: Path) -> dict[str, dict[str, str]] | None:
    try:
        content: dict[str, dict[str, str]] = json.loads(key_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content
