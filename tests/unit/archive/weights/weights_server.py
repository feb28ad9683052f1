"""A file server on the loopback interface that misbehaves as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: What a server does with one request.
Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class WeightsServer:
    """Answers each path with its next behaviour, the last of them for ever; keeps the requests that it got."""

    url: str
    #: Set when the test is over: whoever hangs goes on.
    over: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, Message]] = field(default_factory=list)
    _behaviours: dict[str, list[Behaviour]] = field(default_factory=dict)

    def on(self, path: str, *behaviours: Behaviour) -> str:
        """Behave like this at ``path``; returns its URL."""
        self._behaviours[path] = list(behaviours)
        return self.url + path

    def paths(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [path for path, _ in self.requests]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append((request.path, request.headers))
        behaviours = self._behaviours.get(request.path, [status(404)])
        (behaviours.pop(0) if len(behaviours) > 1 else behaviours[0])(request)

    def hang(self, _: BaseHTTPRequestHandler) -> None:
        """A behaviour: never answer."""
        self.over.wait()

    def stall(self, content: bytes, after: int) -> Behaviour:
        """A behaviour: send the beginning of ``content``, then nothing more."""

        def behave(request: BaseHTTPRequestHandler) -> None:
            _head(request, 200, {"Content-Length": str(len(content))})
            request.wfile.write(content[:after])
            self.over.wait()

        return behave


def send(content: bytes, *, ranges: bool = True, headers: dict[str, str] | None = None) -> Behaviour:
    """Send ``content``, or with ``ranges`` the part of it that is asked for."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        start = int((request.headers.get("Range") or "bytes=0-")[len("bytes=") : -1]) if ranges else 0
        more = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        length = {"Content-Length": str(len(content) - start)}
        _head(request, 206 if start else 200, length | more | (headers or {}))
        request.wfile.write(content[start:])

    return behave


def cut(content: bytes, after: int) -> Behaviour:
    """Announce the whole of ``content`` and hang up when ``after`` bytes of it are sent."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        _head(request, 200, {"Content-Length": str(len(content))})
        request.wfile.write(content[:after])

    return behave


def status(code: int, headers: dict[str, str] | None = None) -> Behaviour:
    """Answer with a bare status."""
    return lambda request: _head(request, code, {"Content-Length": "0"} | (headers or {}))


def _head(request: BaseHTTPRequestHandler, code: int, headers: dict[str, str]) -> None:
    request.send_response(code)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()


@contextmanager
def running_server() -> Iterator[WeightsServer]:
    """A server on a free port, gone with all its threads at the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = False  # so that closing the server waits for them

        def handle_error(self, *_: object) -> None:
            pass  # clients that went away are part of the tests

    with Quiet(("127.0.0.1", 0), Handler) as listener:
        server = WeightsServer(f"http://127.0.0.1:{listener.server_port}")
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            listener.shutdown()
            thread.join()
