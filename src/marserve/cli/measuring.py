"""``marserve plan measure``: the service that is measured, or a pod of its own, and what is said of it."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marserve.arguments import UsageError, file, whole
from marserve.errors import MarserveError
from marserve.paths import EXAMPLES, command
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, remove_tree
from marserve.system.loopback import free_ports, is_free, reachable_address
from marserve.terminal import complain, say
from marserve.variables import variable

if TYPE_CHECKING:
    from marserve.plan.measure import PodFacts
    from marserve.plan.measurement import Measurement
    from marserve.plan.service import ServiceAddress

#: What is measured on a machine that was not quiet is written, and is no success.
BUSY_STATUS = 3
#: Where a measurement is written, and read from.
MEASUREMENT = Path("measurement.json")
API_KEY_VARIABLE = variable("classify_api_key")
#: Pictures of which fewer say little about the spread of sizes.
ENOUGH_PICTURES = 50
#: Bytes of pictures that are kept in memory, which is what some thousand photographs have.
MOST_BYTES = 500_000_000
#: The line of ``serve`` from which on it starts what is built.
STARTING = re.compile(r"^Starting TorchServe")

EPILOG = """examples:
  marserve plan measure --pictures photographs
      starts one worker with its web service on free ports, measures it in two minutes, and ends it
  marserve plan measure --port 5000 --pictures photographs
      the stack that runs on this machine: for two minutes it is filled, so not while others use it
  marserve plan measure --url https://pictures.example.org --api-key KEY
      one elsewhere: without processor times, and with the network on the way

pictures: as your callers send them. How long they take depends on their sizes, and a plan is as good as they are alike.

exit status: 0 measured; 1 it failed; 2 wrong arguments; 3 measured while the machine was busy: the file says why it is
  not to be trusted, and so does every plan that is made of it"""


def add_arguments(parser: argparse._ActionsContainer) -> None:
    which = parser.add_mutually_exclusive_group()
    # Not the "port" of other commands, which must be that of a running stack.
    which.add_argument(
        "--port", metavar="PORT", type=whole(1, 65535), dest="measured_port", help="web port of a stack that runs here"
    )
    which.add_argument("--url", metavar="URL", help="a web service, also on another machine")
    parser.add_argument(
        "--archive", metavar="FILE", type=file, help="what the pod of its own serves (default: as marserve serve)"
    )
    parser.add_argument(
        "--workers", metavar="N", type=whole(1, 64), help="workers of the pod of its own (default: 1, as a pod has)"
    )
    parser.add_argument(
        "--pictures", nargs="+", default=[str(EXAMPLES)], metavar="PICTURE",
        help="files, folders or patterns of pictures such as your callers send (default: the examples, which are few)",
    )  # fmt: skip
    parser.add_argument("--model", metavar="NAME", help="a model that the service has (default: its default one)")
    parser.add_argument(
        "--api-key", metavar="KEY",
        help="if the service requires one; it stays in your shell's history, so prefer the variable "
        f"{API_KEY_VARIABLE}",
    )  # fmt: skip
    parser.add_argument(
        "--ca", metavar="FILE", type=Path,
        help="authorities' certificates to trust, in PEM (default: those of REQUESTS_CA_BUNDLE, or the usual ones)",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="FILE", type=Path, default=MEASUREMENT, help=f"where it is written (default: {MEASUREMENT})"
    )


def run(options: argparse.Namespace) -> int:
    from marserve.plan.measure import measure
    from marserve.plan.service import LoadedService

    own = options.url is None and not options.measured_port
    if not own and (options.archive or options.workers):
        raise UsageError("--archive and --workers are for a pod of its own: leave --port and --url out")
    if not options.output.absolute().parent.is_dir():
        raise UsageError(f"--output: there is no folder {options.output.absolute().parent}")
    pictures, source = _pictures(options.pictures)
    key = options.api_key or os.environ.get(API_KEY_VARIABLE)
    with _pod(options, key) as (address, facts):
        measurement = measure(LoadedService(address, pictures), facts, source)
    measurement.write(options.output)
    for line in describe(measurement):
        say(line)
    say(f"Written to {options.output}. A plan from it: {command('plan --help')}")
    for reason in measurement.noise.reasons:
        complain(f"Not to be trusted: {reason}. Measure again when the machine is quiet.")
    return BUSY_STATUS if measurement.noise.reasons else 0


def describe(found: Measurement) -> list[str]:
    """What a person wants to know of it, line by line."""
    capacity, pod, model = found.capacity, found.pod, found.model
    workers = f"{pod.workers} worker{'s' if pod.workers > 1 else ''}"
    by_size = sorted(found.groups, key=lambda each: (each.busy, each.pictures))
    alone, largest = by_size[0], max(found.capacity.groups, key=lambda each: each.pictures)
    lines = [
        f"{model.name} {model.version} ({model.precision or 'unknown precision'}), {workers}, "
        f"{found.pictures.count} pictures of {found.pictures.mean_bytes / 1e3:.0f} kB:",
        f"  capacity           {capacity.per_s:.0f} pictures/s ({min(capacity.rounds_per_s):.0f} to "
        f"{max(capacity.rounds_per_s):.0f} from round to round)",
        f"  worker             {alone.mean_s * 1e3:.1f} ms for {alone.pictures} picture, {largest.mean_s * 1e3:.1f} ms "
        f"for {largest.pictures} together",
        f"  way to it and back {found.overhead.hop_s * 1e3:.1f} ms; web service {found.overhead.web_s * 1e3:.1f} ms",
    ]
    if pod.cold_start_s is not None:
        lines.append(f"  cold start         {pod.cold_start_s:.1f} s")
    lines += [
        f"  load {each.load:.2f} ({each.arrivals})".ljust(21)
        + f"p50 {each.p50_s * 1e3:.0f} ms, p99 {each.p99_s * 1e3:.0f} ms, {each.within[100]:.1%} within 100 ms"
        for each in found.runs
    ]
    return lines


def _pictures(names: list[str]) -> tuple[list[bytes], str]:
    """Their bytes, and where they are from. Raises UsageError where there are none."""
    from marserve.pictures import NoPictureFoundError, find_pictures

    try:
        found = find_pictures(names, heic=False).pictures
    except NoPictureFoundError as exc:
        raise UsageError(str(exc)) from exc
    total = 0
    content: list[bytes] = []
    for picture in found:
        total += picture.size
        if total > MOST_BYTES and content:
            complain(
                f"The first {len(content)} of {len(found)} pictures are sent: more than {MOST_BYTES // 10**6} MB do "
                "not help."
            )
            break
        content.append(Path(picture.path).read_bytes())
    if len(content) < ENOUGH_PICTURES:
        complain(
            f"{len(content)} pictures say little about yours: --pictures FOLDER, with 50 or more, makes a better plan."
        )
    return content, "examples" if names == [str(EXAMPLES)] else ", ".join(names)


@contextmanager
def _pod(options: argparse.Namespace, key: str | None) -> Iterator[tuple[ServiceAddress, PodFacts]]:
    """What is measured, and what is known of it."""
    from marserve.plan.measure import PodFacts
    from marserve.plan.service import ServiceAddress

    if options.url is not None:
        url = options.url if "://" in options.url else f"http://{options.url}"
        yield ServiceAddress(url, key, ca=options.ca, model=options.model), PodFacts()
    elif options.measured_port:
        address = service_of(options.measured_port, key, options.model)
        yield address, facts_of(options.measured_port, address)
    else:
        with own_pod(options.archive, options.workers or 1) as (port, cold_start_s):
            address = service_of(port, key, options.model)
            yield address, facts_of(port, address, cold_start_s)


@contextmanager
def own_pod(
    archive: Path | None, workers: int, variables: Mapping[str, str] | None = None
) -> Iterator[tuple[int, float]]:
    """A stack on free ports, ended with the block: its web port, and the seconds of its start. Raises MarserveError."""
    standing = Ports.from_environment().web_port
    if not is_free(standing):
        complain(
            f"Something answers on web port {standing} and may take cores from what is measured; --port {standing} "
            "measures a stack there."
        )
    names = list(asdict(Ports()))
    ports = Ports(**dict(zip(names, free_ports(len(names)), strict=True)))
    environment = {
        **os.environ,
        **(variables or {}),
        **{variable(name): str(port) for name, port in asdict(ports).items()},
    }
    marserve = [sys.executable, "-m", "marserve"]
    serve = [
        *marserve,
        "serve",
        "--detach",
        "--workers",
        str(workers),
        *(["--archive", str(archive)] if archive else []),
    ]
    started_at, said = time.monotonic(), []
    try:
        with subprocess.Popen(
            serve, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as starting:
            assert starting.stdout is not None  # noqa: S101
            for line in starting.stdout:
                said.append(line.rstrip())
                if STARTING.match(line):
                    started_at = time.monotonic()
                if len(said) < 3:
                    complain(f"  {said[-1]}")
        if starting.returncode:
            raise MarserveError("The pod to measure did not start:\n" + "\n".join(said[-12:]))
        yield ports.web_port, time.monotonic() - started_at
    finally:
        subprocess.run(
            [*marserve, "stop", "--port", str(ports.web_port)], env=environment, capture_output=True, check=False
        )
        remove_tree(RunDirectory(ports.web_port).path)


def service_of(port: int, key: str | None = None, model: str | None = None) -> ServiceAddress:
    """The web service of a stack of this machine. Raises MarserveError where none runs."""
    from marserve.manage.running_stack import RunningStack
    from marserve.plan.service import ServiceAddress

    stack = RunningStack.find(port)
    certificate = stack.run_directory.certificate_of(stack.state)
    host = reachable_address(stack.state.host)
    scheme = "http" if certificate is None else "https"
    return ServiceAddress(
        f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}", key, certificate=certificate, model=model
    )


def facts_of(port: int, address: ServiceAddress, cold_start_s: float | None = None) -> PodFacts:
    """What is known of a stack of this machine."""
    from marserve.manage.running_stack import RunningStack
    from marserve.plan.machine import this_machine
    from marserve.plan.measure import PodFacts

    stack = RunningStack.find(port)
    name = address.model or stack.state.models[0].name
    with stack.management() as management:
        version = management.describe(name, customized=True)
    archive = stack.run_directory.model_store / Path(version.archive).name
    running: Mapping[str, Any] = (version.description or {}).get("running", {})
    return PodFacts(
        machine=this_machine(),
        archive=archive.name,
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest() if archive.is_file() else None,
        batch_size=version.batch_size,
        batch_delay_s=version.batch_delay_s,
        threads=running.get("threads"),
        threads_when_alone=running.get("threads_when_alone") or running.get("threads"),
        cold_start_s=cold_start_s,
        cpu_s=lambda: _cpu_s(stack),
    )


def _cpu_s(stack: Any) -> dict[str, float]:
    """Processor seconds of each part of the stack so far."""
    from marserve.system import processes

    found = {"web": 0.0, "torchserve": 0.0, "workers": 0.0}
    for record in stack.state.processes:
        process = processes.running(record)
        if process is None:
            continue
        own = process.cpu_times()
        found["torchserve" if record.name == "TorchServe" else "web"] += own.user + own.system
        if record.name == "TorchServe":
            for child in process.children(recursive=True):
                times = child.cpu_times()
                found["workers"] += times.user + times.system
    return found
