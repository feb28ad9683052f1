"""``python -m marserve.web``: the service, with its settings from the environment."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

from marserve.system.files import failure_of, locked
from marserve.variables import prepare_environment
from marserve.web.logs import configure_logging
from marserve.web.settings import WebSettings, WebSettingsError


def main() -> int:
    prepare_environment()
    try:
        settings = WebSettings.from_environment(os.environ)
    except WebSettingsError as exc:
        print(f"web: {exc}", file=sys.stderr)
        return 2
    configure_logging(settings.log_level)
    from marserve.web.server import serve

    with ExitStack() as held:
        if settings.web_lock is not None:
            try:
                held.enter_context(locked(settings.web_lock, shared=True))
            except OSError as exc:
                print(f"web: the directory that it shares with TorchServe: {failure_of(exc)}", file=sys.stderr)
                return 1
        serve(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
