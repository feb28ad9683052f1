"""TorchServe's tokens: read from its key file, and renewed before they expire.

TorchServe writes the file anew at every start and at every renewal, and refuses the token before it at once. So there
is one way to a token, taken by every process: read the file, and only under a lock that all share have it renewed.

That way is a generator that does no I/O itself: it yields what is to be done (a ``Step``), is sent the result, and
returns the ``Keys``. ``valid_token`` drives it synchronously, ``marserve.web.upstream.connection`` in an event loop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, get_args

from marserve.errors import MarserveError
from marserve.system.files import locked
from marserve.system.loopback import LOOPBACK, request

Kind = Literal["inference", "management"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: A token that is valid for less than this is renewed; TorchServe's are valid for an hour.
MARGIN = timedelta(minutes=10)
#: TorchServe writes the file in place, so it can be seen half-written: attempts to read it, and seconds between them.
READ_ATTEMPTS = 40
READ_PAUSE_S = 0.05
#: Attempts to get the lock, which is held for the time of one request to TorchServe, and seconds between them.
LOCK_ATTEMPTS = 300
LOCK_PAUSE_S = 0.1
#: TorchServe's name for a token that is wrong or has expired; it comes with status 400.
REFUSED_TOKEN = "InvalidKeyException"  # noqa: S105 - the name of an error


class KeyFileError(MarserveError):
    """There is no valid token, and none can be had now."""


class NoKeyFileError(KeyFileError):
    """TorchServe has not written its key file yet, or it has ended."""


@dataclass(frozen=True)
class Token:
    """A token and the time after which TorchServe refuses it."""

    key: str
    expires: datetime

    @property
    def left(self) -> timedelta:
        return self.expires - datetime.now(timezone.utc)


@dataclass(frozen=True)
class Keys:
    """The content of the key file."""

    tokens: Mapping[Kind, Token]
    #: It renews tokens, and does nothing else.
    api_key: str


@dataclass(frozen=True)
class ReadFile:
    """Send the text of the file, None where there is none."""

    path: Path


@dataclass(frozen=True)
class TryLock:
    """Send whether the lock was to be had; hold it until the flow has ended."""

    path: Path


@dataclass(frozen=True)
class Pause:
    """Send anything after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Renew:
    """Request ``path`` of the management API with ``api_key`` for a token; send the status, None for no answer."""

    kind: Kind
    api_key: str

    @property
    def path(self) -> str:
        return f"/token?type={self.kind}"


Step = ReadFile | TryLock | Pause | Renew
Flow = Generator[Step, Any, Keys]


def is_refusal(status: int, body: bytes) -> bool:
    """Whether TorchServe answers that the token is wrong or has expired."""
    if status != 400 or REFUSED_TOKEN.encode() not in body:
        return False
    try:
        content = json.loads(body)
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("type") == REFUSED_TOKEN


def keys_as_written(file: Path, attempts: int = READ_ATTEMPTS) -> Flow:
    """The keys as they stand in the file. Raises KeyFileError."""
    for _ in range(attempts):
        text = yield ReadFile(file)
        if text is None:
            raise NoKeyFileError(f"{file} cannot be read, since it is not there: is the stack running?")
        keys = _parse(text)
        if keys is not None:
            return keys
        yield Pause(READ_PAUSE_S)
    raise KeyFileError(f"{file} cannot be read: is the stack running?")


def valid_keys(file: Path, kind: Kind, refused: str | None = None, known: Keys | None = None) -> Flow:
    """Keys whose token of ``kind`` is valid for ``MARGIN`` and is not the ``refused`` one; renewed if need be.

    Where it cannot be renewed, one that is still valid will do. ``known`` are the last keys that were read: with them a
    file that has been lost or overwritten is had again, since TorchServe writes it with every renewal. Raises
    KeyFileError.
    """
    try:
        keys = yield from keys_as_written(file)
        if _is_good(keys.tokens[kind], refused, MARGIN):
            return keys
    except KeyFileError:
        if known is None:
            raise
        keys = known
    for _ in range(LOCK_ATTEMPTS):
        if (yield TryLock(file.with_name("token.lock"))):
            break
        yield Pause(LOCK_PAUSE_S)
    else:
        raise KeyFileError("Another process has been renewing TorchServe's tokens for too long.")
    if keys is not known:
        keys = yield from keys_as_written(file)
        if _is_good(keys.tokens[kind], refused, MARGIN):  # another process has renewed it meanwhile
            return keys
    status = yield Renew(kind, keys.api_key)
    if status == 200:
        return (yield from keys_as_written(file))
    if _is_good(keys.tokens[kind], refused, timedelta()):
        return keys
    answer = "nothing" if status is None else f"status {status}"
    raise KeyFileError(f"TorchServe answered {answer} to the request to renew its {kind} token: is it up?")


def do_file_step(step: ReadFile | TryLock, held: ExitStack) -> str | bool | None:
    """The result of a step that concerns files; closing ``held`` releases the lock."""
    if isinstance(step, ReadFile):
        try:
            return step.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise KeyFileError(f"{step.path} cannot be read: {exc.strerror}.") from exc
    try:
        held.enter_context(locked(step.path, timeout_s=0))
    except MarserveError:
        return False
    except OSError:  # a directory that this process may not write to has no lock, so nobody can be waited for
        return True
    return True


def valid_token(
    file: Path, management_port: int, kind: Kind, refused: str | None = None, *, host: str = LOOPBACK
) -> Token:
    """A valid token, and not the ``refused`` one, of the TorchServe with this management API. Raises KeyFileError."""

    def renew(step: Renew) -> int | None:
        reply = request("GET", management_port, step.path, token=step.api_key, host=host)
        return None if reply is None else reply.status

    return _drive(valid_keys(file, kind, refused), renew).tokens[kind]


def read_keys(path: Path) -> Keys:
    """The keys as they stand in the file ``path``. Raises KeyFileError."""
    return _drive(keys_as_written(path), lambda _: None)


def _drive(flow: Flow, renew: Callable[[Renew], int | None]) -> Keys:
    result: object = None
    with ExitStack() as held:
        try:
            while True:
                step = flow.send(result)
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                elif isinstance(step, Renew):
                    result = renew(step)
                else:
                    result = do_file_step(step, held)
        except StopIteration as done:
            keys: Keys = done.value
            return keys


def _is_good(token: Token, refused: str | None, margin: timedelta) -> bool:
    return token.key != refused and token.left > margin


def _parse(text: str) -> Keys | None:
    """None where the file is not whole."""
    try:
        content = json.loads(text)
        tokens = {
            kind: Token(str(content[kind]["key"]), _parse_time(content[kind]["expiration time"])) for kind in KINDS
        }
        return Keys(tokens, str(content["API"]["key"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _parse_time(text: str) -> datetime:
    # Java writes up to nine decimals of a second, and none where they are zero; Python 3.10 reads six, and no Z.
    return datetime.fromisoformat(text.rstrip("Z").partition(".")[0]).replace(tzinfo=timezone.utc)
