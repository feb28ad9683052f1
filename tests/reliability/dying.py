"""Processes that end, or are there and do nothing."""

from __future__ import annotations

import io
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import requests
from PIL import Image

from marserve.stack.run_directory import State
from marserve.system.processes import is_alive
from tests.e2e.serving import ANSWER_S, wait_for
from tests.reliability.stage import Stage
from tests.reliability.table import CannotRunHereError, Row
from tests.reliability.under_load import UnderLoad

#: Seconds within which a service that was killed, or hangs, must be back; on a quiet machine it takes a part of that.
WORKER_S, JAVA_S, WEB_S = 30.0, 60.0, 30.0
#: Seconds that systemd waits before it starts a service again (``RestartSec`` of deploy/systemd).
RESTART_S = 1.0
#: What goes with the web service.
CACHE = "the results in its memory"
#: Bytes that a process may still take when its memory is limited.
LITTLE = 10_000_000
#: Large pictures, each of which takes more.
LARGE = 8
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")


def is_over(process: psutil.Process) -> bool:
    return not is_alive(process)


def _end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):  # it has ended
        process.kill()


def _struck(
    tested: UnderLoad,
    process: psutil.Process,
    name: str,
    number: signal.Signals,
    within_s: float,
    *,
    may_be_refused: bool = False,
    lost: str = "",
) -> Row:
    """A signal to ``process``, which another one must come for."""
    return tested.inflict(
        name,
        lambda: process.send_signal(number),
        recovered=lambda: is_over(process),
        within_s=within_s,
        may_be_refused=may_be_refused,
        lost=lost,
        then=lambda: _end(process),
    )


def _worker(tested: UnderLoad) -> psutil.Process:
    return psutil.Process(tested.worker_pids()[0])


def worker_killed(stage: Stage) -> Row:
    tested = stage.shared()
    return _struck(tested, _worker(tested), "SIGKILL to one of two workers", signal.SIGKILL, WORKER_S)


def worker_stopped(stage: Stage) -> Row:
    tested = stage.shared()
    return _struck(
        tested, _worker(tested), "SIGSTOP to one of two workers: it is there and does nothing", signal.SIGSTOP, WORKER_S
    )


def workers_killed(stage: Stage) -> Row:
    tested = stage.shared()
    workers = [psutil.Process(pid) for pid in tested.worker_pids()]

    def strike() -> None:
        for worker in workers:
            worker.kill()

    return tested.inflict(
        "SIGKILL to both workers", strike, recovered=lambda: all(map(is_over, workers)), within_s=WORKER_S
    )


def worker_out_of_memory(stage: Stage) -> Row:
    if not (MEMORY_GROUPS.is_dir() and os.access(MEMORY_GROUPS, os.W_OK)):
        raise CannotRunHereError(f"a memory limit takes root and cgroup v1 ({MEMORY_GROUPS})")
    tested = stage.shared()
    worker = _worker(tested)
    group = MEMORY_GROUPS / f"marserve-{worker.pid}"
    group.mkdir()
    try:
        limit = group / "memory.limit_in_bytes"
        limit.write_text(str(LITTLE), encoding="ascii")

        def strike() -> str:
            (group / "cgroup.procs").write_text(str(worker.pid), encoding="ascii")
            return _large_pictures(tested, lambda: is_over(worker))

        return tested.inflict(
            f"the kernel kills one of two workers, which takes more than {LITTLE // 10**6} MB more (cgroup), "
            "for a large picture",
            strike,
            recovered=lambda: is_over(worker),
            lasts=True,
            within_s=WORKER_S,
        )
    finally:
        _end(worker)
        wait_for(lambda: is_over(worker))
        group.rmdir()


def worker_memory_refused(stage: Stage) -> Row:
    tested = stage.shared()
    worker = _worker(tested)
    before = resource.prlimit(worker.pid, resource.RLIMIT_AS)

    def strike() -> str:
        resource.prlimit(worker.pid, resource.RLIMIT_AS, (worker.memory_info().vms + LITTLE, before[1]))
        told = _large_pictures(tested)
        if not is_over(worker):
            resource.prlimit(worker.pid, resource.RLIMIT_AS, before)
        return told

    return tested.inflict(
        f"one of two workers is refused more than {LITTLE // 10**6} MB more (RLIMIT_AS); {LARGE} large pictures",
        strike,
        lasts=True,
        within_s=WORKER_S,
    )


def _large_pictures(tested: UnderLoad, until: Callable[[], bool] = lambda: False) -> str:
    """What pictures are answered that take a worker much memory."""
    picture = large_picture()
    seen: Counter[str] = Counter()
    for number in range(LARGE):
        answer = requests.post(f"{tested.stack.web}/classify", data=picture + str(number).encode(), timeout=ANSWER_S)
        seen[str(answer.status_code) if answer.ok else f"{answer.status_code} {answer.json()['type']}"] += 1
        if until():
            break
    return f"large ones: {', '.join(f'{count} × {status}' for status, count in sorted(seen.items()))}"


def large_picture() -> bytes:
    """A small file of 40 megapixels, of which a worker makes 120 MB."""
    file = io.BytesIO()
    Image.new("RGB", (8000, 5000), "orange").save(file, "png")
    return file.getvalue()


def java_killed(stage: Stage) -> Row:
    tested = stage.shared()
    return _struck(tested, tested.stack.process("TorchServe"), "SIGKILL to TorchServe's Java", signal.SIGKILL, JAVA_S)


def java_stopped(stage: Stage) -> Row:
    tested = stage.shared()
    return _struck(tested, tested.stack.process("TorchServe"), "SIGSTOP to TorchServe's Java", signal.SIGSTOP, JAVA_S)


def web_killed(stage: Stage) -> Row:
    tested = stage.shared()
    web = tested.stack.process("the web service")
    return _struck(tested, web, "SIGKILL to the web service", signal.SIGKILL, WEB_S, may_be_refused=True, lost=CACHE)


def web_stopped(stage: Stage) -> Row:
    tested = stage.shared()
    web = tested.stack.process("the web service")
    return _struck(tested, web, "SIGSTOP to the web service", signal.SIGSTOP, WEB_S, may_be_refused=True, lost=CACHE)


def autoscaler_killed(stage: Stage) -> Row:
    tested = stage.shared()
    autoscaler = tested.stack.process("the autoscaler")

    def is_replaced() -> bool:
        processes = {process.name: process.pid for process in tested.stack.state().processes}
        return processes["the autoscaler"] != autoscaler.pid

    return tested.inflict("SIGKILL to the autoscaler", autoscaler.kill, recovered=is_replaced, within_s=WEB_S)


def supervisor_killed(stage: Stage) -> Row:
    tested = stage.shared()
    before = psutil.Process(tested.stack.state().serve.pid)
    return _with_restart(
        tested,
        "SIGKILL to the supervisor; `serve` again after a second, as systemd would",
        before.kill,
        lambda: tested.stack.state().serve.pid != before.pid,
    )


def everything_killed(stage: Stage) -> Row:
    tested = stage.shared()

    def strike() -> None:
        for process in [before, *tested.stack.processes()]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def is_started_again() -> bool:
        # What is left of the stack is cleared away before anything starts.
        state = State.read(tested.stack.run_directory.state)
        return state is not None and state.serve.pid != before.pid

    before = psutil.Process(tested.stack.state().serve.pid)
    return _with_restart(
        tested,
        "SIGKILL to every process of the stack; `serve` again after a second, as systemd would",
        strike,
        is_started_again,
        may_be_refused=True,
        lost=CACHE,
    )


def _with_restart(
    tested: UnderLoad,
    name: str,
    strike: Callable[[], object],
    recovered: Callable[[], object],
    *,
    may_be_refused: bool = False,
    lost: str = "",
) -> Row:
    """What becomes of it where systemd, which does not run everywhere, would start ``serve`` again."""

    def struck() -> None:
        strike()
        time.sleep(RESTART_S)
        tested.serve_again()

    return tested.inflict(name, struck, recovered=recovered, within_s=JAVA_S, may_be_refused=may_be_refused, lost=lost)
