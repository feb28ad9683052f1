"""What a request shows so that it is answered: an API key at the web level, a token at TorchServe's."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from marserve.client.errors import CredentialsMissing
from marserve.torchserve.key_file import MARGIN, KeyFileError, Kind, Token, is_refusal, valid_token

#: Seconds between attempts to renew a token before it expires.
RENEWAL_PAUSE_S = 30.0


class ApiKey:
    """The web service's API key; None where it needs none."""

    def __init__(self, key: str | None = None) -> None:
        self._headers = {} if key is None else {"X-API-Key": key}

    def headers(self) -> dict[str, str]:
        return self._headers

    def replaced(self, *_answer: object) -> bool:
        return False  # there is no other


class KeyFileToken:
    """A token in TorchServe's ``key_file.json``, read again and renewed as needed; for one machine, many threads."""

    def __init__(self, path: Path, management_url: str, kind: Kind) -> None:
        """``management_url`` is where tokens are renewed."""
        parts = urlsplit(management_url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._path = path
        self._kind = kind
        self._token: Token | None = None
        #: When a token that could not be renewed, but is still valid, is tried again.
        self._next_attempt = 0.0
        self._lock = threading.Lock()

    def headers(self) -> dict[str, str]:
        """The token that was read last, as long as it is valid. Raises CredentialsMissing."""
        with self._lock:
            if self._token is None or (self._token.left <= MARGIN and time.monotonic() >= self._next_attempt):
                self._token = self._obtain(refused=None)
                self._next_attempt = time.monotonic() + RENEWAL_PAUSE_S
            return _header(self._token)

    def replaced(self, sent: dict[str, str], status: int, body: bytes) -> bool:
        """Whether the answer says that ``sent`` is no longer valid, and there is another token now."""
        if not is_refusal(status, body):
            return False
        with self._lock:
            if self._token is not None and _header(self._token) == sent:  # no other thread was here first
                self._token = self._obtain(refused=self._token.key)
        return True

    def _obtain(self, refused: str | None) -> Token:
        try:
            return valid_token(self._path, self._port, self._kind, refused, host=self._host)
        except KeyFileError as exc:
            raise CredentialsMissing(str(exc)) from exc


def _header(token: Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.key}"}


#: Headers for every request.
Credentials = ApiKey | KeyFileToken
