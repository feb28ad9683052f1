"""``marserve serve`` and ``marserve stop``: a stack is started, watched and stopped by one process at a time."""

from __future__ import annotations

import time

from marserve.errors import StopRequestedError
from marserve.stack.lifecycle import LOCK_S, Running, addresses, check_same, chosen, clear, is_running, start
from marserve.stack.options import Options
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, State
from marserve.system import processes
from marserve.system.files import locked
from marserve.system.processes import ignore_stop_signals
from marserve.terminal import complain, say

#: Seconds for a ``serve`` that is asked to end, since it first ends what it has started.
STARTER_GRACE_S = 60.0


def serve(options: Options, ports: Ports) -> int:
    """Start the stack of ``ports.web_port`` and, unless detached, stay until it is stopped. Answers the exit status."""
    run_directory = RunDirectory(ports.web_port)
    choices = chosen(options)
    waiting = f"Another command is working on web port {ports.web_port}; waiting for it ..."
    with locked(run_directory.lock, on_wait=lambda: say(waiting), timeout_s=LOCK_S):
        earlier = State.read(run_directory.state)
        if earlier is not None and is_running(earlier):
            check_same(earlier, choices)
            say(f"Already running on web port {ports.web_port}; nothing was changed.")
            say("\n".join(addresses(earlier, run_directory)))
            return 0
        clear(earlier, run_directory)
        state, running = start(options, choices, ports, run_directory)
    if options.detach:
        say("\n".join(["Ready.", *addresses(state, run_directory)]))
        return 0
    return _stay(state, running, run_directory)


def stop(run_directory: RunDirectory) -> list[str]:
    """Stop whatever there is of the stack of ``run_directory``; says what was ended."""
    state = State.read(run_directory.state)
    if state is None:
        return []
    ended = []
    # It holds the lock while it starts the stack, and stops everything when asked to end.
    if (starter := processes.running(state.serve)) is not None:
        processes.end_processes([starter], STARTER_GRACE_S)
        ended.append(f"serve (pid {starter.pid}) and what it had started")
    with locked(run_directory.lock, timeout_s=LOCK_S):
        state = State.read(run_directory.state)
        return ended + clear(state, run_directory)


def _stay(state: State, running: Running, run_directory: RunDirectory) -> int:
    try:
        say("\n".join(["Ready.", *addresses(state, run_directory)]))
        while all(process.poll() is None for _, process in running):
            time.sleep(0.5)
        status = 1
    except StopRequestedError:
        status = 0
    ignore_stop_signals()
    for service, process in running:
        if status and process.returncode is not None:
            problem = f"{service.name} ended by itself (status {process.returncode})"
            complain(str(service.failure(problem, service.reason())))
    with locked(run_directory.lock, timeout_s=LOCK_S):
        # Should another serve have taken over meanwhile, all that is left here is the other's.
        current = State.read(run_directory.state)
        ended = clear(current, run_directory) if current is not None and current.serve == state.serve else []
    for name in ended:
        say(f"Stopped {name}.")
    return status
