"""A web service that answers pictures as one worker with groups would, in simulated work: it sleeps."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds of the worker for a group, and for each picture; of the way to it and back.
GROUP_S, PICTURE_S, WAY_S = 0.004, 0.004, 0.003
BATCH = 4
MODELS = {
    "default": "resnet18",
    "models": [{"name": "resnet18", "version": "1.0", "architecture": "resnet18", "precision": "bf16"}],
}


class FakeService:
    """One worker; ``status`` is that of every answer to a picture, ``says`` whether it has Server-Timing."""

    def __init__(self, *, status: int = 200, says: bool = True, foreign: int = 0) -> None:
        self.status = status
        self.says = says
        #: Pictures that others send, by its metrics.
        self.foreign = foreign
        self.bodies: set[bytes] = set()
        self.pictures = 0
        self._scrapes = 0
        self._waiting: list[tuple[float, asyncio.Future[str]]] = []
        self._wake = asyncio.Event()

    async def work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                sent = time.monotonic()
                worker_s = GROUP_S + PICTURE_S * len(group)
                await asyncio.sleep(worker_s + WAY_S)
                group_s = time.monotonic() - sent
                worker_s = group_s - WAY_S  # what it took, with the sleep's own lateness
                for came, future in group:
                    future.set_result(
                        f"queue;dur={(sent - came) * 1e3:.3f}, group;dur={group_s * 1e3:.3f};desc={len(group)}, "
                        f"company;desc=1, worker;dur={worker_s * 1e3:.3f}"
                    )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split(" ", 2)[1]
                lines = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
                body = await reader.readexactly(int(lines.get("content-length", "0")))
                if path == "/models":
                    self._answer(writer, 200, json.dumps(MODELS))
                elif path == "/metrics":
                    self._scrapes += 1
                    self._answer(writer, 200, self._metrics())
                else:
                    self.bodies.add(body)
                    self.pictures += 1
                    timing = await self._classify() if self.status == 200 else ""
                    self._answer(writer, self.status, "[]", f"Server-Timing: {timing}\r\n" if self.says else "")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _classify(self) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((time.monotonic(), future))
        self._wake.set()
        return await future

    def _answer(self, writer: asyncio.StreamWriter, status: int, body: str, headers: str = "") -> None:
        writer.write(f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode())

    def _metrics(self) -> str:
        return (
            "# TYPE web_queue_seconds histogram\n"
            f'web_queue_seconds_count{{model="resnet18"}} {self.pictures + self.foreign * (self._scrapes > 2)}\n'
            "# TYPE web_model_workers gauge\n"
            'web_model_workers{model="resnet18",version="1.0",state="ready"} 1\n'
        )

    @contextmanager
    def running(self) -> Iterator[str]:
        """Its address, while a thread serves it."""
        loop = asyncio.new_event_loop()

        async def begin() -> tuple[asyncio.Server, asyncio.Task[None]]:
            return await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=2**22), asyncio.create_task(self.work())

        server, working = loop.run_until_complete(begin())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(working.cancel)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(asyncio.gather(working, return_exceptions=True))
            server.close()
            loop.close()
