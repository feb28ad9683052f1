"""What must not be seen: passwords in addresses, and variables that are secrets as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Stands for a secret wherever one is left out.
HIDDEN = "..."
#: Stands before the digest of a secret, where one is stored to tell it from another.
DIGEST = " with digest "
#: Variables whose values are secrets, whoever they belong to. config/config.properties has the same for TorchServe's
#: workers (blacklist_env_vars).
SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|KEY|AWS|HEADERS", re.IGNORECASE)
#: What stands before the @ of an address: a password after a name, or a token alone. A password may hold another @.
_USER_INFO = re.compile(r"(?<=://)([^\s/?#:@]*:)?[^\s/?#]*(?=@)")
#: Parameters that give access: a password for Redis, or a signature for a file in a cloud's store.
_PARAMETER = re.compile(
    r"(?<=[?&])([\w.-]*(?:token|secret|passw|credential|key|signature|sig)[\w.-]*=)[^\s&#]+", re.IGNORECASE
)


def redacted(text: str) -> str:
    """``text`` with ``...`` in place of what gives access in its addresses: ``redis://user:...@cache:6379/0``."""
    return _PARAMETER.sub(rf"\1{HIDDEN}", _USER_INFO.sub(rf"\1{HIDDEN}", text))


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` for a process that needs no secret: without variables that are named as one or hold one."""
    return {name: value for name, value in environ.items() if not SECRET_NAME.search(name) and redacted(value) == value}
