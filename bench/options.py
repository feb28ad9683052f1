"""The command line of ``scripts/bench``."""

from __future__ import annotations

import argparse
import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from marserve.plan.arrivals import ArrivalProcess, arrival_process

DESCRIPTION = """Measure this project's servers and their peers side by side on this machine: throughput and latency
against clients, start-up, memory, and how far all of it is from what the processor can do. Writes Markdown tables,
plots and the raw figures to bench/results/DATE/.
"""
EPILOG = """examples:
  ./scripts/bench --photographs ~/photographs
      everything: this project in f32, bf16 and int8, every peer in every variant, the limit of the machine
  ./scripts/bench --photographs ~/photographs --quick
      one short round of everything; some 40 minutes, and once the peers' installation
  ./scripts/bench --photographs ~/photographs --quick --only ours
      one short round of this project alone: some 6 minutes
  ./scripts/bench --photographs ~/photographs --only ours,torchserve_stock,litserve --variants "1 thread,our engine"
      some servers, and of the peers only variants whose names contain one of these words
  ./scripts/bench --photographs ~/photographs --resume bench/results/2026-11-24-190000
      go on with a run that broke off; what it measured is kept
  ./scripts/bench --photographs ~/photographs --curves ours "litserve/*1 thread" --clients 1,8,32,128
      throughput and latency against clients for those that matter
  ./scripts/bench --photographs ~/photographs --device gpu
      this project and its peers on a GPU
  ./scripts/bench --photographs ~/photographs --parts rates,bursts --arrivals poisson gamma-2 gamma-4 calls.csv
      what callers feel: the highest rate at which 99 % are answered within 100 and 250 ms, by kind of arrivals
  ./scripts/bench --report-only bench/results/2026-11-24-190000/measurements.jsonl
      tables and plots again, from what was measured

The parts: servers (throughput and latency of clients that wait for each other), limit (decode and inference without a
server), rates (an open loop: requests come at their own times; 99 % of the default 1,000 are 990), bursts (at 85 % of
the server's own throughput with a deadline of 100 ms, beside a scheduler that knows everything beforehand).

The photographs: a directory of JPEG files, at least 16 and better 200 different ones, of the size that users send.
Decoding them is a good part of the work, and a single picture sent again and again would flatter every cache. They are
also what int8 is calibrated with.

The peers are installed on first use, each into an environment of its own below bench/.environments (about 8 GB, most of
it one shared torch). wrk, the load generator, comes from the system's packages.
"""
#: The number of clients at which everything is compared.
COMPARED_AT = 32
CURVES = ("ours", "torchserve_stock/*, 1 thread", "litserve/*, 1 thread*")
LARGE_PICTURES = ("ours/*/TorchServe", "*/*, 1 thread")
#: The best settings: default threads are never among them.
RATES = ("ours", "*/*1 thread*", "*/our engine*", "*/GPU, *")
ARRIVALS = ("poisson",)
PARTS = ("servers", "limit", "rates", "bursts")
DEVICES = ("all", "cpu", "gpu")
PRECISIONS = ("f32", "bf16", "int8")
#: The directory in which ``scripts/bench`` was called.
STARTED_IN = "BENCH_STARTED_IN"


@dataclass(frozen=True)
class BenchOptions:
    """What ``scripts/bench`` was given."""

    photographs: Path | None
    only: tuple[str, ...]
    variants: tuple[str, ...]
    servers: Sequence[str]
    curves: Sequence[str]
    large: Sequence[str]
    rates: Sequence[str]
    arrivals: Sequence[ArrivalProcess]
    rate_requests: int
    clients: tuple[int, ...]
    precisions: tuple[str, ...]
    engine_precisions: tuple[str, ...]
    parts: tuple[str, ...]
    device: str
    seconds: float
    warm_up_s: float
    rounds: int
    quick: bool
    resume: Path | None
    report_only: Path | None
    dry_run: bool

    def wants_server(self, name: str) -> bool:
        """Whether ``ours`` or the peer ``name`` is measured."""
        return not self.only or name in self.only

    def wants_device(self, device: str) -> bool:
        """Whether servers that compute on ``device`` are measured."""
        return self.device in ("all", device)

    def wants_variant(self, key: str) -> bool:
        """Whether the peer's variant is measured."""
        is_named = not self.variants or any(word in key.partition("/")[2] for word in self.variants)
        return is_named and any(chooses(word, key) for word in self.servers)

    def wants_curve(self, key: str) -> bool:
        """Whether ``key`` is measured with every number of clients."""
        return any(chooses(word, key) for word in self.curves)

    def wants_large(self, key: str) -> bool:
        """Whether ``key`` is measured with 12-megapixel pictures."""
        return any(chooses(word, key) for word in self.large)

    def wants_rates(self, key: str) -> bool:
        """Whether ``key`` takes part in the parts ``rates`` and ``bursts``."""
        return any(chooses(word, key) for word in self.rates)


def parse_options(arguments: Sequence[str]) -> BenchOptions:
    """Read the command line; wrong arguments end the process with status 2 and say what is right."""
    parser = argparse.ArgumentParser(
        prog="./scripts/bench",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--photographs", metavar="DIR", type=_directory, help="real, varied JPEG files (see below); required to measure"
    )
    add("--only", metavar="NAMES", type=_names, default=(), help="of ours, stock and the peers' names (default: all)")
    add("--variants", metavar="WORDS", type=_names, default=(), help="of the peers' variants, those with these words")
    add(
        "--servers", metavar="KEY", nargs="+", default=("*",),
        help="of the peers' variants, those that are called so, with our engine's precision at the end (default: all)",
    )  # fmt: skip
    add(
        "--curves", metavar="KEY", nargs="+", default=CURVES,
        help="servers measured with every number of clients, as NAME, NAME/VARIANT or ours/PRECISION/LEVEL, * for any "
        f"letters; the others only with {COMPARED_AT} (default: {_quoted(CURVES)})",
    )  # fmt: skip
    add(
        "--large", metavar="KEY", nargs="+", default=LARGE_PICTURES,
        help=f"servers measured with 12-megapixel pictures too (default: {_quoted(LARGE_PICTURES)})",
    )  # fmt: skip
    add(
        "--rates", metavar="KEY", nargs="+", default=RATES,
        help=f"servers of the parts rates and bursts (default: {_quoted(RATES)})",
    )  # fmt: skip
    add(
        "--arrivals", metavar="NAME", nargs="+", type=_arrivals, default=tuple(map(arrival_process, ARRIVALS)),
        help="of the part rates: poisson, gamma-N with the coefficient of variation N, or the file of a recording "
        "(.csv, .txt, the web service's log), scaled to each rate; each takes as long again "
        f"(default: {' '.join(ARRIVALS)})",
    )  # fmt: skip
    add(
        "--rate-requests", metavar="N", type=int, default=1000,
        help="requests of each rate that is tried; 1 %% of them may be late (default: 1000)",
    )  # fmt: skip
    add(
        "--clients", metavar="NUMBERS", type=_numbers, default=(1, 4, 16, 32, 64, 256),
        help="numbers of clients of the curves (default: 1,4,16,32,64,256)",
    )  # fmt: skip
    add(
        "--precisions",
        metavar="NAMES",
        type=_precisions,
        default=PRECISIONS,
        help="of f32, bf16 and int8 (default: all)",
    )
    add(
        "--engine-precisions", metavar="NAMES", type=_precisions, default=("f32", "int8"),
        help="of our engine in peers' servers; int8 shows the servers' own cost most (default: f32,int8)",
    )  # fmt: skip
    add("--parts", metavar="NAMES", type=_parts, default=PARTS, help=f"of {', '.join(PARTS)} (default: all)")
    add(
        "--device", choices=DEVICES, default="all",
        help="what servers compute on: the processor, the first NVIDIA GPU, or what of these there is (default: all)",
    )  # fmt: skip
    add("--seconds", metavar="S", type=float, default=6.0, help="of each measurement (default: 6)")
    add("--warm-up", dest="warm_up_s", metavar="S", type=float, default=3.0, help="before the first one (default: 3)")
    add("--rounds", metavar="N", type=int, default=3, help="interleaved repetitions, whose medians count (default: 3)")
    add("--quick", action="store_true", help="one round of 2 seconds, few clients, Poisson arrivals alone")
    add("--resume", metavar="DIR", type=_directory, help="results of a run that broke off: go on there")
    add("--report-only", metavar="FILE", type=_file, help="measurements.jsonl: only write its report again")
    add("--dry-run", action="store_true", help="say what would be measured, and how long it would take")
    values = vars(parser.parse_args(arguments))
    if values["quick"]:
        values |= {"seconds": 2.0, "warm_up_s": 1.0, "rounds": 1, "clients": (1, 32)}
        values |= {"arrivals": (arrival_process("poisson"),), "rate_requests": 200}
    if values["photographs"] is None and values["report_only"] is None:
        parser.error("--photographs DIR is required: a directory of real, varied JPEG files (see --help)")
    if values["rounds"] < 1 or values["seconds"] < 1:
        parser.error("--rounds and --seconds are 1 at least")
    if values["rate_requests"] < 100:
        parser.error("--rate-requests is 100 at least: of fewer, 99 % are all")
    values["only"] = tuple("torchserve_stock" if name == "stock" else name for name in values["only"])
    return BenchOptions(**values)


def chooses(pattern: str, key: str) -> bool:
    """``ours`` chooses every key of ours, ``litserve/*, 1 thread`` the variants that end so."""
    return fnmatch.fnmatchcase(key, pattern) or key.partition("/")[0] == pattern


def _quoted(patterns: Sequence[str]) -> str:
    return " ".join(f"'{pattern}'" if " " in pattern or "*" in pattern else pattern for pattern in patterns)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(number) for number in _names(text))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 1,16,64")
    return numbers


def _parts(text: str) -> tuple[str, ...]:
    return _of(text, PARTS)


def _precisions(text: str) -> tuple[str, ...]:
    return _of(text, PRECISIONS)


def _arrivals(text: str) -> ArrivalProcess:
    try:
        return arrival_process(text if text == "poisson" or text.startswith("gamma-") else str(_path(text)))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _of(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = _names(text)
    if not names or not set(names) <= set(known):
        raise argparse.ArgumentTypeError(f"{text!r}: use of {', '.join(known)}")
    return names


def _directory(text: str) -> Path:
    path = _path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a directory")
    return path


def _file(text: str) -> Path:
    path = _path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file")
    return path


def _path(text: str) -> Path:
    """``scripts/bench`` changes to the clone's root; a relative path is the caller's."""
    return Path(os.environ.get(STARTED_IN, ""), Path(text).expanduser()).absolute()
