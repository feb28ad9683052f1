"""Versions that are told by their labels, a caller who reads them, and SIGKILL to whoever serves them."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil
import requests

from marserve.stack.run_directory import State
from marserve.stack.torchserve_answers import using_temp
from marserve.system.processes import is_alive, running
from tests.e2e.operating import Edit
from tests.e2e.serving import ANSWER_S, Stack
from tests.support import CAT

#: Seconds between two pictures of the caller, who sends them all the time.
PAUSE_S = 0.05
#: What a service may say whose workers are not there yet.
OVERLOAD = {503, 504}
#: What stands before the labels of a version.
MARK = "of version "


def marked(version: str) -> Edit:
    """Labels that say which version gave them."""

    def edit(files: dict[str, bytes]) -> None:
        labels = json.loads(files["index_to_name.json"])
        renamed = {index: [wnid, f"{MARK}{version} {name}"] for index, (wnid, name) in labels.items()}
        files["index_to_name.json"] = json.dumps(renamed).encode()

    return edit


def version_of(label: str) -> str:
    """The one whose label it is."""
    found, _, rest = label.partition(MARK)
    return rest.split()[0] if not found and rest else f"none, but {label!r}"


class Caller:
    """Sends a picture all the time; an answer by a version that is not ``allowed`` is wrong."""

    def __init__(self, url: str) -> None:
        self.allowed: frozenset[str] = frozenset()
        self._outcomes: Counter[str] = Counter()
        self._longest_s = 0.0
        self._url = url

    @contextmanager
    def at_work(self) -> Iterator[Caller]:
        stop = threading.Event()
        thread = threading.Thread(target=self._send, args=(stop,))
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    def seen(self) -> tuple[dict[str, int], float]:
        """Answers since this was called last, and the seconds of the longest."""
        outcomes, longest_s = self._outcomes, self._longest_s
        self._outcomes, self._longest_s = Counter(), 0.0
        return dict(outcomes), longest_s

    def _send(self, stop: threading.Event) -> None:
        while not stop.wait(PAUSE_S):
            began = time.monotonic()
            self._outcomes[self.outcome()] += 1
            self._longest_s = max(self._longest_s, time.monotonic() - began)

    def outcome(self) -> str:
        """Of one request: right, refused by nobody being there or as overload, or what is wrong with its answer."""
        allowed = self.allowed
        try:
            reply = requests.post(f"{self._url}/predict", files={"file": CAT.read_bytes()}, timeout=ANSWER_S)
        except requests.ReadTimeout:
            return f"wrong: no answer in {ANSWER_S:.0f} s"
        except requests.RequestException:
            return "refused"
        if reply.status_code in OVERLOAD:
            return str(reply.status_code)
        if reply.status_code != requests.codes.ok:
            return f"wrong: status {reply.status_code}"
        version = version_of(reply.json()[0]["label"])
        return "right" if version in allowed | self.allowed else f"wrong: version {version}"


def kill_everything(stack: Stack, command: int) -> None:
    """SIGKILL to the command, whoever stays with the stack, each service and each worker, until none is left."""
    state = State.read(stack.run_directory.state)
    recorded = [] if state is None else [state.serve, *state.processes]
    while True:
        found = [process for process in map(running, recorded) if process is not None]
        found += [psutil.Process(command)] if psutil.pid_exists(command) else []
        found += using_temp(state.temp) if state is not None else []
        if not kill(found):
            return


def kill(processes: Sequence[psutil.Process]) -> bool:
    """SIGKILL to each and its children; whether there were any."""
    family = list(processes)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            family += process.children(recursive=True)
    living = [process for process in family if is_alive(process)]
    for process in living:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return bool(living)
