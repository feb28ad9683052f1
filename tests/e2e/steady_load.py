"""Clients that keep a stack busy while something is done to it, and know what each answer must be."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from tests.e2e.serving import ANSWER_S, Stack, wait_for
from tests.support import CAT, PHOTOS

CLIENTS = 16
#: Different pictures that the clients send in turn; each has one right answer.
PICTURES = [CAT, *sorted(PHOTOS.glob("*.JPEG"))[:50]]
#: What the labels of the second version begin with, so that an answer tells which version really gave it.
SECOND = "second "


@dataclass
class SteadyLoad:
    """Clients that send pictures to the web service one after the other, each a new one, and ask nothing twice.

    Where nobody accepts its connection any more, a client ends.
    """

    stack: Stack
    model: str = "resnet18"
    clients: int = CLIENTS
    failures: list[str] = field(default_factory=list)
    #: Answers by the version that gave them.
    versions: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    refused: int = 0
    last_version: str | None = None

    @contextmanager
    def running(self) -> Iterator[SteadyLoad]:
        """The clients are at work inside the block; what is right is what the first version answers before."""
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._pictures = [path.read_bytes() for path in PICTURES]
        self._labels = [
            label_of(requests.post(self._url, data=picture, timeout=ANSWER_S)) for picture in self._pictures
        ]
        threads = [threading.Thread(target=self._send, args=(client,)) for client in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            self.wait_for(self.clients)
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def wait_for(self, answers: int) -> None:
        """Return after so many more answers, and as many that were asked for before."""
        enough = self.answered + len(self.failures) + 2 * answers
        wait_for(lambda: self.answered + len(self.failures) >= enough)

    def _send(self, client: int) -> None:
        with requests.Session() as session:
            number = 0
            while not self._stop.is_set():
                number += 1
                which = (client + number) % len(self._pictures)
                # Bytes after a JPEG's end mean nothing, but make another picture of it for the cache.
                picture = self._pictures[which] + f"{client} {number}".encode()
                try:
                    answer = session.post(self._url, data=picture, timeout=ANSWER_S)
                except requests.ConnectionError as exc:
                    if "Connection refused" not in str(exc):
                        self.failures.append(repr(exc))
                    else:
                        self.refused += 1
                        return
                else:
                    self._note(answer, self._labels[which])

    @property
    def _url(self) -> str:
        return f"{self.stack.web}/classify?model={self.model}"

    def _note(self, answer: requests.Response, right: str) -> None:
        if answer.status_code != 200:
            self.failures.append(f"{answer.status_code} {answer.text}")
            return
        version = answer.headers["X-Model-Version"]
        label = label_of(answer)
        if label != (f"{SECOND}{right}" if version == "2.0" else right):
            self.failures.append(f"{version} answered {label} instead of {right}")
        with self._counting:
            self.versions[version] += 1
            self.last_version = version
            self.answered += 1


def label_of(answer: requests.Response) -> str:
    """The first label."""
    label: str = answer.json()["predictions"][0]["label"]
    return label
