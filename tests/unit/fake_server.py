"""A server on the loopback address that answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass(frozen=True)
class Answer:
    status: int = 200
    content: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    #: Break the connection instead.
    breaks: bool = False


def classification(label: str = "tabby", model: str = "resnet18") -> dict[str, Any]:
    prediction = {"class_id": 281, "wnid": "n02123045", "label": label, "probability": 0.83}
    return {"model": model, "version": "1.0", "weights": "trained", "predictions": [prediction]}


def error(status: int, kind: str, message: str = "Do something else.", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"code": status, "type": kind, "message": message}, named)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class FakeServer:
    """Gives ``answers`` one after the other, the last one for ever; ``requests`` is what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [Answer(content=classification())]
        self.requests: list[Request] = []
        self.at_once = 0
        self._at_work = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = outer.take(Request(self.command, self.path, dict(self.headers), body))
                try:
                    time.sleep(answer.after_s)
                    if answer.breaks:
                        self.close_connection = True
                        return
                    content = (
                        answer.content if isinstance(answer.content, bytes) else json.dumps(answer.content).encode()
                    )
                    self.send_response(answer.status)
                    for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True  # the client has gone
                finally:
                    outer.leave()

            do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def take(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            self._at_work += 1
            self.at_once = max(self.at_once, self._at_work)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def leave(self) -> None:
        with self._lock:
            self._at_work -= 1

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()
