"""What is there and not what it should be: archives, tokens, a cache, the time."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import redis

from marserve.stack.run_directory import remove_tree
from marserve.system.loopback import LOOPBACK, free_ports, request
from marserve.torchserve.key_file import read_keys
from tests.e2e.serving import wait_for
from tests.reliability.stage import Stage
from tests.reliability.table import CannotRunHereError, Row
from tests.reliability.under_load import UnderLoad
from tests.requirements import is_there

#: Seconds for which something is away, wrong or slow.
WRONG_S = 10.0
RECOVERY_S = 60.0
FAKETIME = "libfaketime"


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
    with stage.own("--model-api") as tested:
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


@contextmanager
def _redis(port: int) -> Iterator[Callable[[], psutil.Popen]]:
    """Starts a Redis on ``port`` whenever it is called; what it started is ended in the end."""
    if not is_there("redis-server"):
        raise CannotRunHereError("there is no redis-server")
    started: list[psutil.Popen] = []
    with tempfile.TemporaryDirectory() as folder:

        def start() -> psutil.Popen:
            command = ["redis-server", "--port", str(port), "--bind", LOOPBACK, "--save", "", "--dir", folder]
            started.append(psutil.Popen(command, stdout=subprocess.DEVNULL))
            wait_for(lambda: redis.Redis(port=port).ping())
            return started[-1]

        try:
            yield start
        finally:
            for process in started:
                if process.is_running():
                    process.kill()
                process.wait()


def _with_redis(stage: Stage, name: str, strike: Callable[[psutil.Popen, redis.Redis], object]) -> Row:
    """A stack whose callers mostly send again what they sent before."""
    (port,) = free_ports(1)
    with _redis(port) as start:
        server = start()
        with stage.own(variables={"MARSERVE_CACHE_URL": f"redis://{LOOPBACK}:{port}/0"}, repeating=12) as tested:
            return tested.inflict(name, lambda: strike(server, redis.Redis(port=port)), lasts=True, within_s=RECOVERY_S)


def redis_stopped(stage: Stage) -> Row:
    def stop(server: psutil.Popen, _: redis.Redis) -> None:
        server.suspend()
        time.sleep(WRONG_S)
        server.resume()

    return _with_redis(stage, f"SIGSTOP to the Redis of the cache; {WRONG_S:.0f} s", stop)


def redis_gone(stage: Stage) -> Row:
    def kill(server: psutil.Popen, _: redis.Redis) -> None:
        server.kill()
        time.sleep(WRONG_S)

    return _with_redis(stage, "SIGKILL to the Redis of the cache, for good", kill)


def redis_garbage(stage: Stage) -> Row:
    def fill(_: psutil.Popen, client: redis.Redis) -> str:
        written = 0
        end = time.monotonic() + WRONG_S
        bodies = [client.get(key) or b"" for key in client.scan_iter(count=1000)]
        while time.monotonic() < end:
            for number, key in enumerate(client.scan_iter(count=1000)):
                garbage = (os.urandom(500), b"{}", b"", bodies[0][:100], bodies[number % len(bodies)], b"null")
                client.set(key, garbage[number % len(garbage)])
                written += 1
        return f"{written} entries were overwritten"

    return _with_redis(
        stage,
        "every entry of the Redis of the cache is overwritten, again and again: with noise, halves, and answers to "
        f"other pictures; {WRONG_S:.0f} s",
        fill,
    )


def _with_clock(stage: Stage, name: str, by: timedelta) -> Row:
    """A stack whose wall clock is ahead or behind at once, as after a correction; the time since boot goes on."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        raise CannotRunHereError("there is no libfaketime (Debian: apt-get install libfaketime)")
    with tempfile.TemporaryDirectory() as folder:
        offset = Path(folder) / "offset"
        offset.write_text("+0", encoding="ascii")
        variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with stage.own("--model-api", variables=variables) as tested:

            def strike() -> None:
                offset.write_text(f"{by.total_seconds():+.0f}", encoding="ascii")
                time.sleep(WRONG_S)

            return tested.inflict(name, strike, lasts=True, within_s=RECOVERY_S)


def clock_ahead(stage: Stage) -> Row:
    return _with_clock(stage, "the clock jumps ahead by 2 hours: TorchServe's tokens are over", timedelta(hours=2))


def clock_back(stage: Stage) -> Row:
    return _with_clock(stage, "the clock jumps back by a day", timedelta(days=-1))
