"""What runs out: disk, memory, file descriptors, connections."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import requests

from marserve.system.waiting import wait_until
from tests.e2e.operating import edited
from tests.e2e.serving import Stack, stack_on_free_ports
from tests.reliability.dying import is_over, large_picture
from tests.reliability.stage import Stage
from tests.reliability.table import CannotRunHereError, Row
from tests.reliability.under_load import MODEL, UnderLoad, archive, under_load
from tests.support import CAT

#: Seconds for which something is missing.
SCARCE_S = 10.0
#: Megabytes of the file system on which a stack with everything that it writes has room, until it is filled.
DISK_MB = 400
CLONE_NEWNS = 0x00020000
#: Of idle connections, and of callers that send a byte a second.
IDLE, SLOW = 10_000, 1_000
RECOVERY_S = 60.0
#: Seconds of them: more than the service gives a connection for its headers (10) and for a picture (30).
IDLE_S, SLOW_S = 15.0, 45.0


def java_heap_exhausted(stage: Stage) -> Row:
    """Requests that wait are in Java's heap; its own configuration has room for as many as may wait."""
    # What this variable says comes after the command line.
    stage.clear()  # nobody is to use it afterwards
    options = {"_JAVA_OPTIONS": "-Xmx64m -Xmn16m -XX:MaxDirectMemorySize=2g"}
    with under_load("--model-api", variables=options) as tested:
        java = tested.stack.process("TorchServe")
        return tested.inflict(
            "Java's heap, here of 64 MB, is filled by large pictures that are sent past the web service",
            lambda: _fill_heap(tested, java),
            recovered=lambda: is_over(java),
            within_s=RECOVERY_S,
        )


def _fill_heap(tested: UnderLoad, java: psutil.Process) -> None:
    picture = large_picture() + bytes(15_000_000)

    def send() -> None:
        with contextlib.suppress(requests.RequestException):
            tested.stack.predict(MODEL, data=picture)

    # Each waits for its answer, or for the end of Java.
    senders = [threading.Thread(target=send, daemon=True) for _ in range(32)]
    for sender in senders:
        sender.start()
    wait_until(lambda: is_over(java), RECOVERY_S)


class StackOnOwnDisk(Stack):
    """A stack whose run directory is a file system by itself."""

    def end(self) -> None:
        self.run("stop")
        subprocess.run(["umount", "--lazy", str(self.run_directory.path)], check=True)  # noqa: S607
        super().end()


@contextmanager
def with_disk() -> Iterator[UnderLoad]:
    """A stack with a file system of its own, in memory, which this process and its children alone see."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNS) != 0:
        raise CannotRunHereError("a file system of its own takes root, and CAP_SYS_ADMIN in a container")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)  # noqa: S607
    stack = StackOnOwnDisk(**vars(stack_on_free_ports()))
    folder = stack.run_directory.path
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(folder)]
    subprocess.run(command, check=True)
    with under_load("--model-api", stack=stack) as tested:
        yield tested


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte is left on the file system of ``folder``, which must be one of ``own_disk``."""
    assert shutil.disk_usage(folder).total <= DISK_MB * 2**20, f"{folder} is on a real disk"
    balloon = folder / "balloon"
    with balloon.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(2**16))
    with balloon.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0")
    try:
        yield
    finally:
        balloon.unlink()


def files_exhausted(stage: Stage) -> Row:
    tested = stage.shared()
    web = tested.stack.process("the web service")
    before = web.rlimit(psutil.RLIMIT_NOFILE)

    def strike() -> str:
        web.rlimit(psutil.RLIMIT_NOFILE, (web.num_fds() + 4, before[1]))
        with contextlib.ExitStack() as connections:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    address = ("127.0.0.1", tested.stack.ports.web_port)
                    connections.enter_context(socket.create_connection(address, timeout=1))
            wait_until(lambda: is_over(web), SCARCE_S)
        allow()
        return "the service was started anew, since it took no connection" if is_over(web) else ""

    def allow() -> None:
        if not is_over(web):
            web.rlimit(psutil.RLIMIT_NOFILE, before)

    return tested.inflict(
        f"the web service may open 4 more files, and 100 connections come; {SCARCE_S:.0f} s at most",
        strike,
        lasts=True,
        within_s=RECOVERY_S,
        may_be_refused=True,
        then=allow,
    )


def idle_connections(stage: Stage) -> Row:
    tested = stage.shared()
    _allow_files(IDLE + 500)
    return tested.inflict(
        f"{IDLE:,} connections that send nothing, each opened again when it is closed; {IDLE_S:.0f} s",
        lambda: "these: " + asyncio.run(_crowd_of(tested, IDLE, IDLE_S, _idle)),
        lasts=True,
        within_s=RECOVERY_S,
    )


def slow_senders(stage: Stage) -> Row:
    tested = stage.shared()
    _allow_files(SLOW + 500)
    return tested.inflict(
        f"{SLOW:,} callers that send a byte of their picture a second, again and again; {SLOW_S:.0f} s",
        lambda: "these: " + asyncio.run(_crowd_of(tested, SLOW, SLOW_S, _slow)),
        lasts=True,
        within_s=RECOVERY_S,
    )


def _allow_files(count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise CannotRunHereError(f"it takes {count} open files, and this machine allows {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


async def _crowd_of(
    tested: UnderLoad,
    count: int,
    seconds: float,
    behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]],
) -> str:
    """What became of ``count`` connections that ``behave`` so, and of those that replaced them, in words."""
    gate = asyncio.Semaphore(200)  # connections that are being made: the kernel keeps no more waiting
    end = time.monotonic() + seconds
    ends: Counter[str] = Counter()

    async def keep_coming() -> None:
        while time.monotonic() < end:
            try:
                async with gate:
                    reader, writer = await asyncio.open_connection("127.0.0.1", tested.stack.ports.web_port)
            except OSError as exc:
                ends[type(exc).__name__] += 1
                await asyncio.sleep(1)
                continue
            try:
                ends[await asyncio.wait_for(behave(reader, writer), end - time.monotonic())] += 1
            except asyncio.TimeoutError:
                ends["still open in the end"] += 1
            except OSError:
                ends["reset"] += 1
            finally:
                writer.close()

    await asyncio.gather(*[keep_coming() for _ in range(count)])
    return ", ".join(f"{times:,} × {how}" for how, times in sorted(ends.items()))


async def _idle(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> str:
    return "closed by the service" if not await reader.read() else "an answer to nothing"


async def _slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(f"POST /classify HTTP/1.1\r\nHost: here\r\nContent-Length: {len(CAT.read_bytes())}\r\n\r\n".encode())
    answer = asyncio.create_task(reader.readline())
    try:
        while not answer.done():
            writer.write(b"\xff")
            await asyncio.wait([answer], timeout=1)
        return answer.result()[9:12].decode(errors="replace") or "closed by the service"
    finally:
        answer.cancel()


def _with_a_full_disk(stage: Stage, name: str, during: Callable[[UnderLoad], object]) -> Row:
    """``during`` happens while nothing of the stack's can be written, be it a log, a temporary file or an archive."""
    tested = stage.on(with_disk)

    def strike() -> object:
        with full(tested.stack.run_directory.path):
            return during(tested)

    return tested.inflict(name, strike, lasts=True, within_s=RECOVERY_S)


def disk_full_logs(stage: Stage) -> Row:
    return _with_a_full_disk(stage, f"no byte is left for logs; {SCARCE_S:.0f} s", lambda _: time.sleep(SCARCE_S))


def disk_full_temp(stage: Stage) -> Row:
    def kill(tested: UnderLoad) -> None:
        psutil.Process(tested.worker_pids()[0]).kill()
        time.sleep(SCARCE_S)

    return _with_a_full_disk(
        stage, f"no byte is left for temporary files, and a worker is killed; {SCARCE_S:.0f} s", kill
    )


def disk_full_java(stage: Stage) -> Row:
    def kill(tested: UnderLoad) -> None:
        tested.stack.process("TorchServe").kill()
        time.sleep(SCARCE_S)

    return _with_a_full_disk(
        stage, f"no byte is left for temporary files, and TorchServe's Java is killed; {SCARCE_S:.0f} s", kill
    )


def disk_full_store(stage: Stage) -> Row:
    def deploy(tested: UnderLoad) -> str:
        with tempfile.TemporaryDirectory() as temp:
            second = edited(archive(), Path(temp), "2.0", lambda _: None)
            run = tested.stack.run("marserve", "deploy", MODEL, "--archive", str(second), "--no-compare", "--yes")
        assert run.returncode, "the deployment went through"
        told = run.stderr.strip().splitlines()[-1].replace(f"{tested.stack.run_directory.path}/", "")
        return f"`deploy` ended with status {run.returncode}: {told}"

    return _with_a_full_disk(stage, "no byte is left in the model store, and a version is deployed", deploy)
