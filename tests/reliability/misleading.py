"""What is there and not what it should be: archives, tokens, a cache, the time."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import redis

from marserve.stack.run_directory import remove_tree
from marserve.system.loopback import LOOPBACK, free_ports, is_free, request
from marserve.torchserve.key_file import read_keys
from tests.e2e.serving import wait_for
from tests.reliability.stage import Stage, usual
from tests.reliability.table import CannotRunHereError, Row
from tests.reliability.under_load import UnderLoad, under_load
from tests.requirements import is_there

#: Seconds for which something is away, wrong or slow.
WRONG_S = 10.0
RECOVERY_S = 60.0


def _killed_java(tested: UnderLoad) -> None:
    tested.stack.process("TorchServe").kill()


def store_unreadable(stage: Stage) -> Row:
    tested = stage.shared()
    store = tested.stack.run_directory.model_store
    aside = store.with_name("model_store.aside")

    def strike() -> None:
        store.rename(aside)  # root reads whatever its mode is
        try:
            _killed_java(tested)
            time.sleep(WRONG_S)
        finally:
            remove_tree(store)  # made anew from the archives that it had been filled from
            aside.rename(store)

    return tested.inflict(
        f"the model store is gone while TorchServe is restarted, and comes back; {WRONG_S:.0f} s",
        strike,
        lasts=True,
        within_s=RECOVERY_S,
    )


def archive_damaged(stage: Stage) -> Row:
    stage.clear()  # nobody is to use it afterwards
    with usual() as tested:
        archives = [path for path in tested.stack.run_directory.model_store.glob("*.mar") if path.is_file()]

        def strike() -> None:
            for archive in archives:
                content = bytearray(archive.read_bytes())
                middle = len(content) // 2
                content[middle : middle + 4096] = bytes(4096)
                archive.unlink()  # it may be a link to the one that was built
                archive.write_bytes(content)
            _killed_java(tested)

        return tested.inflict(
            "4 KB in the middle of the served archive are zeros, and TorchServe's Java is killed",
            strike,
            within_s=RECOVERY_S,
        )


def tokens_renewed(stage: Stage) -> Row:
    tested = stage.shared()
    ports, file = tested.stack.ports, tested.stack.run_directory.key_file

    def strike() -> None:
        for kind in ("inference", "management"):
            reply = request("GET", ports.management_port, f"/token?type={kind}", token=read_keys(file).api_key)
            assert reply is not None
            assert reply.status == 200

    return tested.inflict("both of TorchServe's tokens are replaced behind the service's back", strike, within_s=10)


def key_file_garbage(stage: Stage) -> Row:
    tested = stage.shared()
    ports, file = tested.stack.ports, tested.stack.run_directory.key_file
    keys = read_keys(file)

    def strike() -> None:
        # TorchServe writes the file when it renews a token; then it is overwritten.
        request("GET", ports.management_port, "/token?type=inference", token=keys.api_key)
        file.write_bytes(os.urandom(300))

    return tested.inflict(
        "the key file holds garbage, and the token in use is no longer valid", strike, within_s=RECOVERY_S
    )


@dataclass
class CacheServer:
    """The Redis of a stack whose callers mostly send again what they sent before."""

    tested: UnderLoad
    command: list[str]
    port: int
    process: psutil.Popen

    def start(self) -> None:
        if self.process.poll() is not None:
            self.process = psutil.Popen(self.command, stdout=subprocess.DEVNULL)
            wait_for(lambda: is_open(self.port))

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)


@contextmanager
def with_redis() -> Iterator[CacheServer]:
    if not is_there("redis-server"):
        raise CannotRunHereError("there is no redis-server")
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--bind", LOOPBACK, "--save", "", "--dir", folder]
        server = psutil.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: is_open(port))
            variables = {"MARSERVE_CACHE_URL": f"redis://{LOOPBACK}:{port}/0"}
            with under_load(variables=variables, repeating=12) as tested:
                cache = CacheServer(tested, command, port, server)
                try:
                    yield cache
                finally:
                    server = cache.process
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                server.kill()
            server.wait()


def is_open(port: int) -> bool:
    return not is_free(port)


def redis_stopped(stage: Stage) -> Row:
    cache = stage.on(with_redis)
    cache.start()

    def strike() -> None:
        cache.process.suspend()
        time.sleep(WRONG_S)
        cache.process.resume()

    name = f"SIGSTOP to the Redis of the cache; {WRONG_S:.0f} s"
    return cache.tested.inflict(name, strike, lasts=True, within_s=RECOVERY_S)


def redis_gone(stage: Stage) -> Row:
    cache = stage.on(with_redis)
    cache.start()

    def strike() -> None:
        cache.process.kill()
        cache.process.wait()
        time.sleep(WRONG_S)

    return cache.tested.inflict(
        "SIGKILL to the Redis of the cache, for good", strike, lasts=True, within_s=RECOVERY_S, lost="the cache"
    )


def redis_garbage(stage: Stage) -> Row:
    cache = stage.on(with_redis)
    cache.start()

    def strike() -> str:
        client, written = cache.client, 0
        bodies = [client.get(key) or b"" for key in client.scan_iter(count=1000)]
        end = time.monotonic() + WRONG_S
        while time.monotonic() < end:
            for number, key in enumerate(client.scan_iter(count=1000)):
                garbage = (os.urandom(500), b"{}", b"", bodies[0][:100], bodies[number % len(bodies)], b"null")
                client.set(key, garbage[number % len(garbage)])
                written += 1
        return f"{written:,} entries were overwritten"

    name = (
        "every entry of the Redis of the cache is overwritten, again and again: with noise, halves, and answers to "
        f"other pictures; {WRONG_S:.0f} s"
    )
    return cache.tested.inflict(name, strike, lasts=True, within_s=RECOVERY_S)


@dataclass
class WallClock:
    """That of all processes of a stack; the time since boot goes on (``wall_clock.c``)."""

    tested: UnderLoad
    file: Path

    def set(self, by: timedelta) -> None:
        with self.file.open("r+b") as file:
            file.write(struct.pack("<q", round(by.total_seconds())))


@contextmanager
def with_clock() -> Iterator[WallClock]:
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise CannotRunHereError("a clock of its own takes Linux and a C compiler (Debian: apt-get install gcc)")
    with tempfile.TemporaryDirectory() as folder:
        library, file = Path(folder) / "wall_clock.so", Path(folder) / "offset"
        source = Path(__file__).with_name("wall_clock.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
        file.write_bytes(bytes(8))
        variables = {"LD_PRELOAD": str(library), "WALL_CLOCK_FILE": str(file)}
        with under_load("--model-api", variables=variables) as tested:
            yield WallClock(tested, file)


def _clock_set(stage: Stage, name: str, by: timedelta) -> Row:
    clock = stage.on(with_clock)

    def strike() -> None:
        clock.set(by)
        time.sleep(WRONG_S)

    return clock.tested.inflict(name, strike, within_s=RECOVERY_S)


def clock_ahead(stage: Stage) -> Row:
    return _clock_set(stage, "the clock is set 2 hours ahead: TorchServe's tokens are over", timedelta(hours=2))


def clock_back(stage: Stage) -> Row:
    return _clock_set(stage, "the clock is set back by a day", timedelta(days=-1))
