"""A stack from start to end: what it is made of, started until it answers, and ended; ``supervision`` stays with it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from marserve.autoscale.rules import Assignment
from marserve.errors import MarserveError
from marserve.paths import CLONE, EXAMPLE_PICTURE, command, working_directory
from marserve.redaction import DIGEST
from marserve.setup.java import find_java
from marserve.stack.archives import archives_to_start, configured_threads
from marserve.stack.configuration import read_configuration
from marserve.stack.model_store import DeploymentStore
from marserve.stack.options import BASE_OPTIONS, Options, concurrency, room_for_workers, spelled
from marserve.stack.ports import Ports, check_free, ports_of, with_free_grpc_ports
from marserve.stack.run_directory import RunDirectory, StackModel, State
from marserve.stack.services import AUTOSCALER, WEB, AutoscalerService, Service, WebService
from marserve.stack.torchserve import TorchServe
from marserve.stack.torchserve_answers import using_temp
from marserve.system import processes
from marserve.system.loopback import LOOPBACK, reachable_address
from marserve.system.machine import read_machine
from marserve.system.processes import ignore_stop_signals
from marserve.system.waiting import wait_until
from marserve.terminal import say
from marserve.variables import SECRETS, given_variables, variable
from marserve.web.settings import WebSettings

#: Seconds to wait for another command that is at work on the same stack.
LOCK_S = 600.0

Running = list[tuple[Service, "subprocess.Popen[bytes]"]]


class StartedOtherwiseError(MarserveError):
    """The stack runs, and what was asked for now would have no effect on it."""

    def __init__(self, web_port: int, differing: Mapping[str, tuple[str, str | None]]) -> None:
        super().__init__(
            "\n".join(
                [
                    f"Already running on web port {web_port}, started otherwise; nothing was changed:",
                    *(f"  {name}: {now}; it has {was or 'the default'}" for name, (now, was) in differing.items()),
                ]
            )
        )
        #: What would apply it to the workers of a running stack; None where only a new start does.
        self.workers = differing["--workers"][0] if list(differing) == ["--workers"] else None


class NobodyWatchesError(MarserveError):
    """The stack runs without a supervisor, and what it was started with is not known to this start of one."""

    def __init__(self, state: State, missing: Mapping[str, str]) -> None:
        super().__init__(
            "\n".join(
                [
                    f"Nobody watches the stack on web port {state.ports.web_port}, which was started with",
                    *(f"  {name}: {value}" for name, value in missing.items()),
                    f"Start it with these to go on with it, or first stop it: {command('stop')}",
                ]
            )
        )


def chosen(options: Options) -> dict[str, str]:
    """Options and variables that make a stack what it is; of secrets a digest, which tells others from the same."""
    left_out = {variable(name) for name in ("home", "config", "classify_api_key", "autoscale_api_key")}
    variables = {name: value for name, value in given_variables().items() if name not in left_out}
    for name, shown in variables.items():
        if (value := os.environ[name]) != shown:
            shown = "keys" if name in SECRETS else shown
            variables[name] = f"{shown}{DIGEST}{hashlib.sha256(value.encode()).hexdigest()[:8]}"
    return variables | options.given()


def check_same(state: State, choices: Mapping[str, str]) -> None:
    """Raise StartedOtherwiseError where one of ``choices`` is not what the running stack was started with."""
    differing = sorted(name for name, value in choices.items() if state.choices.get(name) != value)
    if differing:
        were = {name: (choices[name], state.choices.get(name)) for name in differing}
        raise StartedOtherwiseError(state.ports.web_port, were)


def check_complete(state: State, choices: Mapping[str, str]) -> None:
    """Raise NobodyWatchesError where ``choices``, all of which are the stack's, are not all that it was started with.

    What is missing is known nowhere else, its API keys for one: the next web service would be open to everybody. What
    archives and workers it has, the record of what is deployed says.
    """
    on_record = {spelled(name) for name in BASE_OPTIONS}
    if missing := {name: value for name, value in state.choices.items() if name not in {*choices, *on_record}}:
        raise NobodyWatchesError(state, missing)


def is_watched(state: State) -> bool:
    """Whether the supervisor of the stack is there, so that whatever ends is started again."""
    return processes.running(state.serve) is not None


def is_running(state: State) -> bool:
    """Whether the stack has answered once, and each of its processes is there or about to be there again."""
    return state.ready and (is_watched(state) or all(processes.running(process) for process in state.processes))


def start(
    options: Options, choices: dict[str, str], ports: Ports, run_directory: RunDirectory
) -> tuple[State, Running]:
    # First, so that an impossible setting costs no start of TorchServe.
    machine = read_machine()
    read_configuration(WebSettings.from_environment(os.environ), machine.memory_bytes)
    # The gRPC ports are dealt with apart: they give way when taken.
    check_free(ports, ports_of(options.only))
    temp = run_directory.prepare()
    state = State(ports, str(temp), processes.record("serve", os.getpid()), host=options.host, choices=choices)
    try:
        state.write(run_directory.state)
        java = find_java()
        archives, options = archives_to_start(options, DeploymentStore(run_directory))
        models = [f"{archive.model} {archive.version}" for archive in archives]
        # Only now: others may take them while archives are built.
        ports = with_free_grpc_ports(ports)
        served = [StackModel(archive.model, archive.trained) for archive in archives]
        threads = configured_threads(archives)
        room = room_for_workers(machine.memory_bytes, len(archives))
        shared = concurrency(options.workers, machine.cores, autoscale=options.autoscale, threads=threads, room=room)
        choices = choices | options.given()
        state = replace(state, ports=ports, models=served, concurrency=shared, choices=choices)
        say(f"Starting TorchServe for {' and '.join(models)}: per model {shared} ...")
        services = services_of(state, options, run_directory, java)
        running: Running = []
        for service in services:
            process = service.start()
            running.append((service, process))
            state = replace(state, processes=[*state.processes, processes.record(service.name, process.pid)])
            state.write(run_directory.state)
            service.wait_until_ready(process)
        state = replace(state, ready=True)
        state.write(run_directory.state)
    except BaseException:
        ignore_stop_signals()
        clear(state, run_directory)
        raise
    return state, running


def services_of(state: State, options: Options, run_directory: RunDirectory, java: Path) -> list[Service]:
    """What the stack of ``state``, whose workers have been chosen, is made of, in the order of its start."""
    if state.concurrency is None:
        raise MarserveError("An earlier version of this program started the stack.")
    web = WebSettings.from_environment(os.environ)
    models = [model.name for model in state.models]
    torchserve = TorchServe(
        java,
        state.ports,
        run_directory,
        Path(state.temp),
        options,
        state.concurrency,
        read_configuration(web, read_machine().memory_bytes),
    )
    if options.only is not None:
        return [torchserve]
    return [
        torchserve,
        WebService(state.ports, run_directory, options.host, default_model=models[0]),
        *_autoscalers(options, state, run_directory, web.api_keys),
    ]


def _autoscalers(options: Options, state: State, run_directory: RunDirectory, api_keys: Sequence[str]) -> list[Service]:
    if options.autoscale is None or state.concurrency is None:
        return []
    assignment = Assignment(
        [model.name for model in state.models],
        replace(options.autoscale, maximum=state.concurrency.workers),
        state.concurrency.threads,
        management_port=state.ports.management_port,
        metrics_port=state.ports.metrics_port,
        web_host=reachable_address(options.host),
        web_port=state.ports.web_port,
        key_file=str(run_directory.key_file),
        change_lock=str(run_directory.change_lock),
        web_certificate=None if (file := run_directory.certificate_of(state)) is None else str(file),
    )
    say(f"Autoscaling between {assignment.rules.minimum} and {assignment.rules.maximum} workers per model.")
    return [AutoscalerService(run_directory, assignment, next(iter(api_keys), None))]


def clear(state: State | None, run_directory: RunDirectory) -> list[str]:
    """End what is left of ``state`` and remove what only a running stack needs; says what was ended."""
    if state is None:
        return []
    ended = end(state)
    # Whoever started it was killed before writing it down. A web service beside TorchServe alone is not this stack's.
    own = () if "--only" in state.choices else (WEB, AUTOSCALER)
    if strays := [stray for begins in own for stray in processes.started_in(run_directory.path, begins)]:
        processes.end_processes(strays)
        ended.append(f"what was not on record (pid {', '.join(str(stray.pid) for stray in strays)})")
    run_directory.clear(Path(state.temp))
    return ended


def end(state: State) -> list[str]:
    """End what is left of a stack, last started first, and say what was ended: ``TorchServe (pid 4242)``, ..."""
    ended = []
    for service in reversed(state.processes):
        found = processes.running(service)
        if found is not None:
            children = []
            with contextlib.suppress(psutil.NoSuchProcess):
                children = found.children(recursive=True)
            processes.end_processes([found])
            # TorchServe's workers end by themselves when it is gone.
            wait_until(lambda: not any(map(processes.is_alive, children)), processes.GRACE_S)  # noqa: B023 - at once
            processes.end_processes(children)
            workers = f" and {len(children)} worker{'s' if len(children) > 1 else ''}" if children else ""
            ended.append(f"{service.name} (pid {found.pid}){workers}")
    if orphans := using_temp(state.temp):
        processes.end_processes(orphans)
        ended.append(f"what was left of it (pid {', '.join(str(orphan.pid) for orphan in orphans)})")
    return ended


def addresses(state: State, run_directory: RunDirectory) -> list[str]:
    """Where the stack answers, line by line; the curl line works as it stands in the directory where this runs."""
    ports = state.ports
    host = reachable_address(state.host)
    certificate = run_directory.certificate_of(state)
    scheme, trust = ("http", "") if certificate is None else ("https", f"--cacert {shlex.quote(str(certificate))} ")
    web = f"{scheme}://{f'[{host}]' if ':' in host else host}:{ports.web_port}"
    listens = "" if state.host == LOOPBACK else f"  (listens on {state.host})"
    inference = f"http://{LOOPBACK}:{ports.inference_port}/predictions"
    models = [
        f"  {model.name + ':':<20}{inference}/{model.name}"
        f"{'' if model.trained else '  (untrained: its labels mean nothing)'}"
        for model in state.models
    ]
    # Relative in a clone's root, where people mostly are.
    picture = EXAMPLE_PICTURE.resolve()
    here = working_directory()
    shown = str(picture.relative_to(here)) if here == CLONE else shlex.quote(str(picture))
    if "--only" in state.choices:
        return [*models, f"  {'management:':<20}http://{LOOPBACK}:{ports.management_port}"]
    return [
        f"  {'page:':<20}{web}{listens}",
        f"  {'documentation:':<20}{web}/docs",
        *models,
        f"  {'management:':<20}http://{LOOPBACK}:{ports.management_port}",
        f"  {'metrics:':<20}{web}/metrics, http://{LOOPBACK}:{ports.metrics_port}/metrics",
        f"  {'logs:':<20}{run_directory.logs}",
        f"Try it:   curl {trust}-F file=@{shown} {web}/predict",
        f"Watch it: {command('status --watch')}",
        f"Stop it:  {command('stop')}",
    ]
