"""``marserve serve --only``: half a stack for each of two containers of one pod, which share MARSERVE_HOME.

They share the network as well, and see no processes of each other. TorchServe's is ended last: where both are asked to
end at once, it goes on until the web service, which still has requests, is gone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from marserve.stack.options import Options
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.services import WEB, WebService
from marserve.supervision.notify import Heartbeat
from marserve.supervision.serving import serve_here
from marserve.system.files import is_held
from marserve.system.waiting import wait_until
from marserve.terminal import AS_JSON, QUIET, say
from marserve.torchserve.log_lines import FOLLOW_S, Follower, LogLine
from marserve.variables import variable
from marserve.web.settings import WebSettings

#: Seconds from SIGTERM to SIGKILL where nobody says otherwise: Kubernetes' own.
GRACE_S = 30.0
#: Of these, what is left for TorchServe's end.
END_S = 4.0
#: TorchServe's names of levels, by which a search finds nothing in the logs of everything else.
LEVELS = {"WARN": "WARNING", "FATAL": "CRITICAL"}


def serve_web(options: Options, ports: Ports) -> None:
    """Become the web service: this does not return."""
    run_directory = RunDirectory(ports.web_port)
    environment = WebService(ports, run_directory, options.host, default_model=None).environment()
    own = {"web_lock": str(run_directory.web_lock), "grace_s": f"{GRACE_S:g}"}
    environment = {variable(name): value for name, value in own.items()} | environment
    # Nobody on this machine asks for it there.
    environment.pop(variable("tls_published"), None)
    # Python imports from the directory that it is started in, and in an image that may be the one that is shared: what
    # decodes strangers' pictures can write there.
    os.chdir("/")
    os.execve(WEB[0], WEB, environment)  # noqa: S606


def serve_torchserve(options: Options, ports: Ports) -> int:
    """Keep TorchServe running until it is to end, and the web service beside it has; answers the exit status."""
    AS_JSON.set()
    run_directory = RunDirectory(ports.web_port)
    grace_s = max(0, (WebSettings.from_environment(os.environ).grace_s or GRACE_S) - END_S)
    notifier = Heartbeat(run_directory.heartbeat)
    notifier.on_ready = QUIET.set  # from now on what is said stands in a log, which is shown
    with _shown(run_directory.logs):
        return serve_here(options, ports, notifier, lambda asked: _outliving(run_directory.web_lock, asked, grace_s))


def _outliving(lock: Path, asked: Event, grace_s: float) -> Event:
    """Set when it was ``asked`` to end and nobody holds ``lock``, at the latest ``grace_s`` seconds after, or when it
    was asked again.
    """
    over = Event()

    def tell(line: str) -> None:
        with suppress(OSError):  # where nobody reads it any more
            say(line)

    def wait() -> None:
        asked.wait()
        asked.clear()
        QUIET.clear()
        if is_held(lock):
            tell(f"Asked to end: going on for the web service until it has ended, at most {grace_s:.0f} s.")
        if not wait_until(lambda: asked.is_set() or not is_held(lock), grace_s):
            tell("The web service has not ended in time: what it still has is lost.")
        over.set()

    Thread(target=wait, daemon=True, name="end").start()
    return over


@contextmanager
def _shown(logs: Path) -> Iterator[None]:
    """Write what appears in the logs to standard output: whoever runs containers looks there, and keeps it."""
    follower, ended = Follower(logs), Event()

    def show() -> None:
        while True:
            is_last = ended.wait(FOLLOW_S)
            with suppress(OSError):  # of a log that is just put away, or where nobody reads it any more
                if text := "".join(_as_json(line) for line in follower.new_lines() if line.text.strip()):
                    sys.stdout.write(text)
                    sys.stdout.flush()
            if is_last:
                return

    thread = Thread(target=show, daemon=True, name="logs")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _as_json(line: LogLine) -> str:
    """With the keys of the web service's log."""
    content = {
        "time": line.time.isoformat(timespec="milliseconds"),
        "level": LEVELS.get(line.level, line.level or "INFO"),
        "logger": f"{line.source} {line.origin}".strip(),
        "message": line.text,
    }
    return json.dumps(content) + "\n"
