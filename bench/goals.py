"""What must be true, as ratios computed from one run's figures; a goal whose figures are missing is open, not met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from bench.measurements import Served, Summary

#: At 32 clients, by precision: times the stock handler's best, times the fastest documented recipe, of the limit.
TIMES_STOCK = {"f32": 2.1, "bf16": 3.7, "int8": 5.7}
TIMES_RECIPE = {"f32": 1.5, "bf16": 2.6, "int8": 4.0}
OF_LIMIT = {"f32": 0.90, "bf16": 0.85, "int8": 0.75}
#: Of the fastest peer with our engine.
OF_OUR_ENGINE = 0.95
#: Milliseconds that a lone client may wait longer than the picture takes in-process.
LONE_CLIENT_MS = 2.5
TIMES_STOCK_LARGE = 5.0
#: From 16 to 256 clients, of the best.
OF_BEST_CURVE = 0.90
CURVE_CLIENTS = (16, 256)

STOCK = "torchserve_stock/"


@dataclass(frozen=True)
class Goal:
    """``measured`` and ``wanted`` as a reader sees them; ``met`` is None where something was not measured."""

    name: str
    measured: str
    wanted: str
    met: bool | None


def goals(summary: Summary) -> list[Goal]:
    """Every goal, met or not; they are about servers that compute on the processor."""
    summary = summary.on("cpu")
    return [
        *_against_stock(summary), *_against_recipes(summary), *_against_limit(summary), *_against_our_engine(summary),
        *_lone_client(summary), *_large(summary), *_flat_curve(summary),
    ]  # fmt: skip


def _against_stock(summary: Summary) -> Iterator[Goal]:
    stock = _best(summary.at(), lambda one: one.key.startswith(STOCK))
    for precision, wanted in TIMES_STOCK.items():
        name = f"{precision} against the stock handler's best settings ({stock.title if stock else 'not measured'})"
        yield _times(name, _ours(summary, precision), stock, wanted)


def _against_recipes(summary: Summary) -> Iterator[Goal]:
    recipe = _best(summary.at(), _is_recipe)
    for precision, wanted in TIMES_RECIPE.items():
        name = f"{precision} against the fastest documented recipe ({recipe.title if recipe else 'not measured'})"
        yield _times(name, _ours(summary, precision), recipe, wanted)


def _against_limit(summary: Summary) -> Iterator[Goal]:
    for precision, wanted in OF_LIMIT.items():
        ours = _ours(summary, precision)
        limit = summary.limit(precision, "throughput", "images_per_second")
        name = f"{precision} against decode and inference in-process"
        if ours is None or limit is None:
            yield _open(name, f"≥ {wanted:.0%}")
        else:
            yield _share(name, ours.per_second.median / limit.median, wanted)


def _against_our_engine(summary: Summary) -> Iterator[Goal]:
    for precision in TIMES_STOCK:
        ours = _ours(summary, precision)
        peer = _best(
            summary.at(),
            lambda one, wanted=precision: one.ours and not one.is_this_project and one.precision == wanted,  # type: ignore[misc]
        )
        name = f"{precision} against the fastest peer with our engine ({peer.title if peer else 'not measured'})"
        if ours is None or peer is None:
            yield _open(name, f"≥ {OF_OUR_ENGINE:.0%}")
        else:
            yield _share(name, ours.per_second.median / peer.per_second.median, OF_OUR_ENGINE)


def _lone_client(summary: Summary) -> Iterator[Goal]:
    modes = (("lone", "on all cores"), ("lone, one core", "on one core"))
    for precision, (mode, cores) in product(TIMES_STOCK, modes):
        ours = _best(summary.at(clients=1), _is_ours(precision))
        limit = summary.limit(precision, mode, "batch_ms")
        name, wanted = f"{precision}, one client: longer than in-process {cores}", f"≤ {LONE_CLIENT_MS} ms"
        if ours is None or limit is None:
            yield _open(name, wanted)
        else:
            more = ours.p50_ms.median - limit.median
            measured = f"{ours.p50_ms.median:.1f} − {limit.median:.1f} = {more:.1f} ms"
            yield Goal(name, measured, wanted, more <= LONE_CLIENT_MS)


def _large(summary: Summary) -> Iterator[Goal]:
    stock = _best(summary.large(), lambda one: one.key.startswith(STOCK))
    for precision in TIMES_STOCK:
        name = f"{precision}, 12-megapixel photographs, against stock"
        yield _times(name, _best(summary.large(), _is_ours(precision)), stock, TIMES_STOCK_LARGE)


def _flat_curve(summary: Summary) -> Iterator[Goal]:
    low, high = CURVE_CLIENTS
    for precision in TIMES_STOCK:
        name, wanted = f"{precision}, from {low} to {high} clients: least of the best", f"≥ {OF_BEST_CURVE:.0%}"
        curve = [one for one in summary.served if _is_ours(precision)(one) and low <= one.clients <= high]
        curve = [one for one in curve if one in summary.curve(one.key)]
        if {low, high} <= {one.clients for one in curve}:
            rates = [one.per_second.median for one in curve]
            yield _share(name, min(rates) / max(rates), OF_BEST_CURVE)
        else:
            yield _open(name, wanted)


def _is_recipe(one: Served) -> bool:
    return not one.ours and not one.is_this_project and not one.key.startswith(STOCK)


def _is_ours(precision: str) -> Callable[[Served], bool]:
    return lambda one: one.key == f"ours/{precision}/TorchServe"


def _ours(summary: Summary, precision: str) -> Served | None:
    return _best(summary.at(), _is_ours(precision))


def _best(candidates: list[Served], wanted: Callable[[Served], bool]) -> Served | None:
    return next((one for one in candidates if wanted(one) and one.per_second.median), None)


def _times(name: str, ours: Served | None, other: Served | None, wanted: float) -> Goal:
    if ours is None or other is None:
        return _open(name, f"≥ {wanted}×")
    ratio = ours.per_second.median / other.per_second.median
    measured = f"{ratio:.2f}× ({ours.per_second.median:.0f} against {other.per_second.median:.0f}/s)"
    return Goal(name, measured, f"≥ {wanted}×", ratio >= wanted)


def _share(name: str, ratio: float, wanted: float) -> Goal:
    return Goal(name, f"{ratio:.1%}", f"≥ {wanted:.0%}", ratio >= wanted)


def _open(name: str, wanted: str) -> Goal:
    return Goal(name, "not measured", wanted, None)
