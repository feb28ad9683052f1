"""``marserve serve`` and ``marserve stop``: a stack is started, watched and stopped by one process at a time."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event

from marserve.errors import MarserveError, StopRequestedError
from marserve.setup.java import find_java
from marserve.stack.lifecycle import (
    LOCK_S,
    addresses,
    check_complete,
    check_same,
    chosen,
    clear,
    is_running,
    is_watched,
    services_of,
    start,
)
from marserve.stack.options import Options
from marserve.stack.ports import Ports
from marserve.stack.restarts import Restart
from marserve.stack.run_directory import RunDirectory, State
from marserve.supervision.kept import ServiceProcess
from marserve.supervision.notify import Notifier, detached
from marserve.supervision.policy import STOPPED_S
from marserve.supervision.supervisor import Supervisor
from marserve.system import processes
from marserve.system.files import locked
from marserve.system.processes import ignore_stop_signals, stop_signals_set
from marserve.terminal import QUIET, say

#: Seconds for a ``serve`` that is asked to end, since it first ends what it has started.
SUPERVISOR_GRACE_S = 60.0
#: Open files that each service may have, where the system allows it: a connection is one.
OPEN_FILES = 65_536


def serve(options: Options, ports: Ports) -> int:
    """Start the stack of ``ports.web_port``, or go on with one that nobody watches, and keep it running until it is
    stopped; ``options.detach`` does so in another process. Answers the exit status.
    """
    run_directory = RunDirectory(ports.web_port)
    choices = chosen(options)
    with _at_work_on(run_directory):
        if _runs_already(run_directory, choices):
            return 0
    if options.detach:
        return detached(lambda notifier: serve_here(options, ports, notifier), lambda: _leave_terminal(run_directory))
    return serve_here(options, ports, Notifier())


def _at_work_on(run_directory: RunDirectory) -> AbstractContextManager[None]:
    waiting = f"Another command is working on web port {run_directory.path.name}; waiting for it ..."
    return locked(run_directory.lock, on_wait=lambda: say(waiting), timeout_s=LOCK_S)


def _runs_already(run_directory: RunDirectory, choices: Mapping[str, str]) -> bool:
    """Whether there is nothing to do, which it says. Raises MarserveError where the stack was started otherwise."""
    earlier = State.read(run_directory.state)
    if earlier is None:
        return False
    _end_stopped_supervisor(earlier)
    if not is_running(earlier):
        return False
    check_same(earlier, choices)
    if not is_watched(earlier):
        check_complete(earlier, choices)
        return False
    say(f"Already running on web port {earlier.ports.web_port}; nothing was changed.")
    say("\n".join(addresses(earlier, run_directory)))
    return True


def _leave_terminal(run_directory: RunDirectory) -> Path:
    QUIET.set()  # what is said from now on stands in the log in another form
    return run_directory.logs / "supervisor.log"


def serve_here(
    options: Options, ports: Ports, notifier: Notifier, until: Callable[[Event], Event] = lambda asked: asked
) -> int:
    """As ``serve``, in this process. ``until``: of the event of a stop signal the one with which the stack is ended."""
    choices = chosen(options)
    run_directory = RunDirectory(ports.web_port)
    with _at_work_on(run_directory):
        if _runs_already(run_directory, choices):  # since a moment ago
            return 0
        earlier = State.read(run_directory.state)
        _allow_open_files()
        try:
            if earlier is not None and not options.discard_deployed and _can_be_adopted(earlier, choices):
                supervisor = _adopt(earlier, options, run_directory, notifier)
            else:
                clear(earlier, run_directory)
                supervisor = _start(options, choices, ports, run_directory, notifier)
            stopping = until(stop_signals_set())
        except StopRequestedError:
            ignore_stop_signals()
            clear(State.read(run_directory.state), run_directory)
            raise
    return _watch(supervisor, run_directory, notifier, stopping)


def _start(
    options: Options, choices: dict[str, str], ports: Ports, run_directory: RunDirectory, notifier: Notifier
) -> Supervisor:
    state, running = start(options, choices, ports, run_directory)
    kept = [
        (service, ServiceProcess(written, child))
        for (service, child), written in zip(running, state.processes, strict=True)
    ]
    return Supervisor(state, kept, run_directory, notifier, lambda: _say_ready(state, run_directory))


def _say_ready(state: State, run_directory: RunDirectory) -> None:
    say("\n".join(["Ready.", *addresses(state, run_directory)]))


def stop(run_directory: RunDirectory) -> list[str]:
    """Stop whatever there is of the stack of ``run_directory``; says what was ended."""
    ended: list[str] = []
    while (state := State.read(run_directory.state)) is not None:
        # First whoever would start it again. It stops everything when asked to end, even in the midst of a start.
        if (supervisor := processes.running(state.serve)) is not None:
            processes.end_processes([supervisor], SUPERVISOR_GRACE_S)
            ended.append(f"serve (pid {supervisor.pid}) and what it had started")
        with locked(run_directory.lock, timeout_s=LOCK_S):
            state = State.read(run_directory.state)
            if state is None or not is_watched(state):  # else another serve was here first
                return ended + clear(state, run_directory)
    return ended


def _end_stopped_supervisor(state: State) -> None:
    """One that is stopped (SIGSTOP) watches nothing; what it has started is left alone."""
    supervisor = processes.running(state.serve)
    if supervisor is not None and processes.is_stopped(supervisor):
        time.sleep(STOPPED_S)
        if processes.is_stopped(supervisor):
            say(f"The supervisor (pid {supervisor.pid}) is stopped: another takes its place.")
            processes.kill_processes([supervisor])


def _can_be_adopted(state: State, choices: Mapping[str, str]) -> bool:
    """Whether something is left of a stack that was started in the same way."""
    try:
        check_same(state, choices)
        check_complete(state, choices)
    except MarserveError:
        return False
    is_left = any(processes.running(process) for process in state.processes)
    return state.ready and state.concurrency is not None and is_left


def _adopt(state: State, options: Options, run_directory: RunDirectory, notifier: Notifier) -> Supervisor:
    """Go on with a stack whose supervisor is gone: callers notice nothing."""
    state = replace(state, serve=processes.record("serve", os.getpid()))
    services = services_of(state, options, run_directory, find_java())
    kept = [(service, ServiceProcess(written)) for service, written in zip(services, state.processes, strict=True)]
    state.write(run_directory.state)
    supervisor = Supervisor(state, kept, run_directory, notifier, lambda: _say_ready(state, run_directory))
    supervisor.note(Restart("supervisor", "it was gone"))
    living = [one.service.name for one in supervisor.kept if processes.running(one.process.record)]
    say(f"Going on with the stack on web port {state.ports.web_port}, which nobody watched: {', '.join(living)} run.")
    for one in supervisor.kept:
        if processes.running(one.process.record) is None:
            supervisor.failed(one, "it ended while nobody watched")
    return supervisor


def _watch(supervisor: Supervisor, run_directory: RunDirectory, notifier: Notifier, stopping: Event) -> int:
    is_ours = supervisor.run(stopping)
    ignore_stop_signals()
    notifier.stopping()
    if not is_ours:
        return 1
    with locked(run_directory.lock, timeout_s=LOCK_S):
        for name in clear(supervisor.state, run_directory):
            say(f"Stopped {name}.")
    return 0


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has limits of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
