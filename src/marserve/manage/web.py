"""Which version the web service sends pictures to: it looks at TorchServe once a second and then names the version."""

from __future__ import annotations

import json
import time

from marserve.errors import MarserveError
from marserve.manage.running_stack import RunningStack
from marserve.stack.web_service import reachable_address
from marserve.system.loopback import request
from marserve.system.waiting import wait_until

#: Seconds for it to notice a change.
NOTICE_S = 20.0
#: Seconds to wait where it does not tell, since it asks for API keys: several of its looks.
BLIND_S = 5.0
POLL_S = 0.2


def wait_until_ready(stack: RunningStack, model: str, version: str) -> None:
    """Return when the web service has had an answer of ``version``, so that making it the default leaves no gap.

    Raises MarserveError when it has none in time.
    """
    _wait(stack, f"/v2/models/{model}/versions/{version}/ready", None, f"has had no answer of {model} {version}")


def wait_until_default(stack: RunningStack, model: str, version: str) -> None:
    """Return when new requests for ``model`` go to ``version``. Raises MarserveError when they do not in time."""
    _wait(stack, "/models", (model, version), f"still sends pictures for {model} to another version than {version}")


def _wait(stack: RunningStack, path: str, default: tuple[str, str] | None, otherwise: str) -> None:
    def has_noticed() -> bool:
        reply = request("GET", stack.ports.web_port, path, host=reachable_address(stack.state.host))
        if reply is not None and reply.status == 401:
            time.sleep(BLIND_S)
            return True
        return reply is not None and reply.status == 200 and (default is None or default in _defaults(reply.body))

    if not wait_until(has_noticed, NOTICE_S, poll_s=POLL_S):
        raise MarserveError(f"After {NOTICE_S:.0f} s the web service {otherwise}; ./scripts/manage.py logs tells more.")


def _defaults(body: bytes) -> set[tuple[str, str]]:
    return {(model["name"], model["version"]) for model in json.loads(body)["models"]}
