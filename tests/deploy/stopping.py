"""Clients of a service that is stopped: what it took, it has to answer."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from tests.deploy.containers import GRACE_S
from tests.reliability.crowd import CLIENTS, PICTURES, Known

#: Seconds of load before the stop.
BEFORE_S = 3


class Client:
    """Sends pictures one after the other, each on a new connection, until nobody listens any more."""

    def __init__(self, port: int, known: list[Known], number: int) -> None:
        self._port, self._known, self._number = port, known, number
        self.right = 0
        #: What became of those that were taken and not answered rightly.
        self.lost: list[str] = []

    def send_all(self, stopping: Event) -> None:
        for count in itertools.count(self._number):
            known = self._known[count % len(self._known)]
            try:
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=5)
            except OSError:
                if stopping.is_set():
                    return
                self.lost.append("refused before the stop")
                continue
            with connection:
                try:
                    self._send(connection, known, f"{self._number} {count}".encode())
                except (OSError, http.client.HTTPException, ValueError) as exc:
                    self.lost.append(repr(exc))
                    if stopping.is_set():
                        return

    def _send(self, connection: socket.socket, known: Known, more: bytes) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=GRACE_S)
        client.sock = connection
        client.request("POST", "/classify", known.picture + more, {"Content-Type": "image/jpeg"})
        answer = client.getresponse()
        content = answer.read()
        if answer.status == 200 and known.is_answered_by(json.loads(content)):
            self.right += 1
        elif answer.status != 503:  # "at an end": refused in order, with when to come again
            self.lost.append(f"{answer.status} {content[:200]!r}")


def lost_when_stopped(port: int, stop: Callable[[], object]) -> list[str]:
    """What became of the requests of ``CLIENTS`` clients that the service on ``port`` took and did not answer rightly,
    while ``stop`` stopped it.
    """
    known = [Known.learned(f"http://127.0.0.1:{port}/classify", picture.read_bytes()) for picture in PICTURES]
    clients = [Client(port, known, number) for number in range(CLIENTS)]
    stopping = Event()
    with ThreadPoolExecutor(CLIENTS) as threads:
        ends = [threads.submit(client.send_all, stopping) for client in clients]
        time.sleep(BEFORE_S)
        stopping.set()
        try:
            stop()
        finally:
            for end in ends:
                end.result()
    assert all(client.right for client in clients)
    return [lost for client in clients for lost in client.lost]
