"""Between the protocol and its transport: when is read, and what is written at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl

#: Parts of a body in one read, above which they are crumbs. A read has at most 64 KB, or 256 KB with TLS; clients that
#: send chunks make them of a kilobyte or more.
CRUMBS = 1_000
#: Of the event loop's time, the part that all crumbs together may take: one in so many seconds.
CRUMBS_SHARE = 10


class CrumbsBudget:
    """Of one event loop: after each read of crumbs, how long no more are read from that connection.

    A read of 64 KB in chunks of one byte takes the parser tens of milliseconds, and a dozen callers could fill all of
    the loop's time. However many they are, they wait for each other.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` gives seconds."""
        self._clock = clock
        self._paid_until_s = 0.0

    def pause_s(self, spent_s: float) -> float:
        """Seconds without reading, for whoever has just cost ``spent_s``."""
        now_s = self._clock()
        self._paid_until_s = max(now_s, self._paid_until_s) + spent_s * CRUMBS_SHARE
        return self._paid_until_s - now_s


class HeldFlowControl(FlowControl):
    """uvicorn's, which reads on as soon as a body is asked for: not while the connection is held."""

    _release: asyncio.TimerHandle | None = None

    def hold(self, pause_s: float) -> None:
        """Read nothing for ``pause_s`` seconds."""
        if self._transport.is_closing():
            return
        if self._release is None and not self.read_paused:
            self._transport.pause_reading()
        self.forget()
        self._release = asyncio.get_running_loop().call_later(pause_s, self._let_go)

    def forget(self) -> None:
        """Forget when to read on: the connection has ended, or is held anew."""
        if self._release is not None:
            self._release.cancel()

    def _let_go(self) -> None:
        self._release = None
        if not self.read_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_reading(self) -> None:
        if self._release is None:
            super().pause_reading()
        self.read_paused = True

    def resume_reading(self) -> None:
        if self._release is None:
            super().resume_reading()
        self.read_paused = False


class WholeAnswers:
    """The part of a transport that answers are written to: the head of one waits for its body.

    Each write is a system call, which wakes whoever waits for the answer, and would do so twice.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        """``close`` closes the connection."""
        self._transport = transport
        self._close = close
        self._head = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100 "):
            self._head = data
        else:
            self._transport.writelines([self._head, data])
            self._head = b""

    def flush(self) -> None:
        """Write what waits: the answer to HEAD has no body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._close()
