"""``serve --check``: what a start would do and what would stop it, found without starting, building or installing."""

from __future__ import annotations

import os
from collections.abc import Callable

from marserve.errors import MarserveError
from marserve.setup.environment import is_installed
from marserve.setup.java import find_java
from marserve.stack.options import SERVER_BYTES, WORKER_BYTES, Options, concurrency, room_for_workers
from marserve.stack.ports import Ports, check_free, ports_of, with_free_grpc_ports
from marserve.stack.run_directory import RunDirectory, State
from marserve.terminal import complain, say


def check_start(options: Options, ports: Ports) -> int:
    """Say what ``serve`` would do; answers 0 where nothing is in its way, else 1."""
    if is_installed(options.only or "serve"):
        found = [_passes(lambda: _settings(options, ports))]
        if options.only != "web":
            found.append(_passes(find_java))
            found.append(_passes(lambda: _archives_and_memory(options, RunDirectory(ports.web_port))))
    else:
        say("Packages: would be installed into .venv; archives and settings are checked after that.")
        found = [_passes(lambda: check_free(ports, ports_of(options.only))), _passes(find_java)]
    say("Nothing is in the way of a start." if all(found) else "A start would fail.")
    return 0 if all(found) else 1


def _passes(step: Callable[[], object]) -> bool:
    try:
        step()
    except MarserveError as exc:
        complain(f"! {exc}")
        return False
    return True


def _settings(options: Options, ports: Ports) -> None:
    from marserve.stack.configuration import read_configuration
    from marserve.stack.lifecycle import check_same, chosen, is_running
    from marserve.system.machine import read_machine
    from marserve.web.settings import WebSettings

    read_configuration(WebSettings.from_environment(os.environ), read_machine().memory_bytes)
    say("Options and settings: fit together.")
    earlier = State.read(RunDirectory(ports.web_port).state)
    if earlier is not None and options.only != "web" and is_running(earlier):
        check_same(earlier, chosen(options))
        say(f"Already running on web port {ports.web_port}: a start would change nothing.")
        return
    names = ports_of(options.only)
    check_free(ports, names)
    with_free_grpc_ports(ports)
    say(f"Ports: {', '.join(str(getattr(ports, name)) for name in names)} are free.")


def _archives_and_memory(options: Options, run_directory: RunDirectory) -> None:
    from marserve.stack.archives import archives_to_start, configured_threads
    from marserve.stack.model_store import DeploymentStore
    from marserve.system.machine import read_machine

    archives, options = archives_to_start(options, DeploymentStore(run_directory), check=True)
    for archive in archives if options.archives else []:
        say(f"Archive {archive.path.name}: {archive.model} {archive.version}, weights: {archive.weights}")
    built = [archive for archive in archives if archive.path.exists()]
    machine = read_machine()
    room = room_for_workers(machine.memory_bytes, len(archives))
    threads = configured_threads(built)
    shared = concurrency(options.workers, machine.cores, autoscale=options.autoscale, threads=threads, room=room)
    needed = SERVER_BYTES + shared.workers * len(archives) * WORKER_BYTES
    what = f"per model {shared}, about {needed / 1e9:.1f} GB; {machine.available_bytes / 1e9:.1f} GB are available"
    if needed > machine.available_bytes:
        raise MarserveError(f"Memory: {what}. Give fewer --workers.")
    say(f"Workers and memory: {what}.")
