"""What a request shows so that it is answered: an API key at the web level, a token at TorchServe's."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from marserve.client.errors import CredentialsMissing
from marserve.errors import MarserveError
from marserve.torchserve.key_file import Kind, Token, is_fresh, valid_token

#: TorchServe's name for a token that is wrong or has expired; it comes with status 400.
INVALID_TOKEN = "InvalidKeyException"  # noqa: S105


class Credentials(Protocol):
    """Headers for every request."""

    def headers(self) -> dict[str, str]:
        """The headers to send now. Raises CredentialsMissing."""

    def replaced(self, sent: dict[str, str], status: int, body: bytes) -> bool:
        """Whether the answer says that ``sent`` is no longer valid and there is something else to send now."""


class ApiKey:
    """The web service's API key; None where it asks for none."""

    def __init__(self, key: str | None = None) -> None:
        self._headers = {} if key is None else {"X-API-Key": key}

    def headers(self) -> dict[str, str]:
        """The key."""
        return self._headers

    def replaced(self, sent: dict[str, str], status: int, body: bytes) -> bool:  # noqa: ARG002
        """There is no other."""
        return False


class KeyFileToken:
    """A token in TorchServe's ``key_file.json``, read again and renewed as needed; for one machine, many threads."""

    def __init__(self, key_file: Path, management_url: str, kind: Kind) -> None:
        """``management_url`` is where tokens are renewed."""
        parts = urlsplit(management_url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._key_file = key_file
        self._kind = kind
        self._token: Token | None = None
        self._lock = threading.Lock()

    def headers(self) -> dict[str, str]:
        """The token that was read last, as long as it is valid."""
        with self._lock:
            if self._token is None or not is_fresh(self._token):
                self._token = self._read(refused=None)
            return _header(self._token)

    def replaced(self, sent: dict[str, str], status: int, body: bytes) -> bool:
        """Get another token where the one that was ``sent`` is refused."""
        if status != 400 or _type(body) != INVALID_TOKEN:
            return False
        with self._lock:
            if self._token is not None and _header(self._token) == sent:  # no other thread was here first
                self._token = self._read(refused=self._token.key)
        return True

    def _read(self, refused: str | None) -> Token:
        # The lock that the project's other processes take before they renew.
        lock = self._key_file.with_name("token.lock")
        try:
            return valid_token(self._key_file, lock, self._port, self._kind, host=self._host, refused=refused)
        except MarserveError as exc:
            raise CredentialsMissing(str(exc)) from exc


def _header(token: Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.key}"}


def _type(body: bytes) -> object:
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content.get("type") if isinstance(content, dict) else None
