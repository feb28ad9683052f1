"""Key files as TorchServe writes them, and a management API that renews tokens as it does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

from marserve.torchserve.key_file import KINDS
from tests.unit.fake_server import Answer, FakeServer, Request, classification, error

HOUR = timedelta(hours=1)


def key_file_text(key: str, lifetime: timedelta = HOUR, decimals: str = ".123456789Z") -> str:
    """Both tokens are ``key``."""
    expires = (datetime.now(timezone.utc) + lifetime).strftime("%Y-%m-%dT%H:%M:%S") + decimals
    entry = {"key": key, "expiration time": expires}
    return json.dumps({**dict.fromkeys(KINDS, entry), "API": {"key": "api"}})


class GuardedServer(FakeServer):
    """Requires the token ``valid``. Renewing writes another one into the key file, valid alone from then on."""

    def __init__(self, key_file: Path) -> None:
        super().__init__()
        self.key_file = key_file
        self.port = int(self.url.rpartition(":")[2])
        self.valid = "first"
        self.renewals = 0
        #: Seconds that a renewal takes.
        self.renewal_s = 0.0
        #: False: it answers that it cannot.
        self.renews = True

    def take(self, request: Request) -> Answer:
        super().take(request)
        if request.path.startswith("/token"):
            assert request.headers["Authorization"] == "Bearer api"
            if not self.renews:
                return error(500, "InternalServerException", "No.")
            self.renewals += 1
            self.valid = f"renewed {self.renewals}"
            time.sleep(self.renewal_s)
            self.key_file.write_text(key_file_text(self.valid))
            return Answer()
        if request.headers.get("Authorization") != f"Bearer {self.valid}":
            return error(400, "InvalidKeyException", "Token Authorization failed.")
        return Answer(content=classification() if request.path.startswith("/predictions") else {"models": []})


@contextmanager
def guarded_server(key_file: Path, lifetime: timedelta = HOUR) -> Iterator[GuardedServer]:
    """Its key file has the token ``first``, which is valid for ``lifetime``."""
    server = GuardedServer(key_file)
    key_file.write_text(key_file_text("first", lifetime))
    yield server
    server.stop()
