"""What must be true, as ratios computed from one run's figures; a goal whose figures are missing is open, not met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import inf

from bench.measurements import Served, Spread, Summary
from bench.rates import LIMITS_MS, Held, held_rates, reached

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

#: The web service at 32 clients: of PyTriton and LitServe with our engine, and of TorchServe's own level.
OF_PEERS = {"pytriton/": 1.0, "litserve/": 1.15}
OF_OWN_TORCHSERVE = 1.0
WEB_PRECISIONS = ("bf16", "int8")
#: Times the stock handler's best, without and with AMX, which computes bf16 and int8 in hardware of its own.
WEB_TIMES_STOCK = {"bf16": (3.3, 5.5), "int8": (5.2, 8.0)}
#: Milliseconds of one core for each int8 answer through the web service, besides decode and inference.
OWN_MS = {"web service": 0.6, "TorchServe's Java": 0.2, "workers": 0.3}
#: The highest rate with 99 % in time: times the stock handler's, times the best peer's with our engine.
HELD_ARRIVALS, HELD_LIMIT_MS = "poisson", LIMITS_MS[0]
HELD_TIMES_STOCK, HELD_TIMES_OUR_ENGINE = 3.0, 1.2
OF_ALL_KNOWING = 0.90

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
        *_web_against_peers(summary), *_web_own_time(summary), *_held_rates(summary), *_bursts(summary),
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
        peer = _best(summary.at(), _runs_our_engine(precision))
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
        yield _longer(f"{precision}, one client: longer than in-process {cores}", ours, limit)


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


def _web_against_peers(summary: Summary) -> Iterator[Goal]:
    machine = summary.last("machine")
    has_amx = machine is not None and {"amx_bf16", "amx_int8"} <= set(machine["flags"])
    stock = _best(summary.at(), lambda one: one.key.startswith(STOCK))
    for precision in WEB_PRECISIONS:
        web = _best(summary.at(), _is_web(precision))
        for peer, wanted in OF_PEERS.items():
            other = _best(summary.at(), _runs_our_engine(precision, peer))
            yield _times(f"web service, {precision}: against {peer.strip('/')} with our engine", web, other, wanted)
        ours = _ours(summary, precision)
        yield _times(f"web service, {precision}: against TorchServe asked directly", web, ours, OF_OWN_TORCHSERVE)
        wanted = WEB_TIMES_STOCK[precision][has_amx]
        yield _times(f"web service, {precision}: against the stock handler's best settings", web, stock, wanted)
        limit = summary.limit(precision, "lone", "batch_ms")
        lone = _best(summary.at(clients=1), _is_web(precision))
        yield _longer(f"web service, {precision}, one client: longer than in-process on all cores", lone, limit)


def _web_own_time(summary: Summary) -> Iterator[Goal]:
    spent = summary.spent("ours/int8/web")
    in_process = [summary.limit("int8", "throughput", field) for field in ("decode_ms", "infer_ms")]
    for who, wanted in OWN_MS.items():
        name = f"web service, int8: milliseconds of one core for each answer, {who}"
        name += " besides decode and inference" if who == "workers" else ""
        beside = sum(spread.median for spread in in_process if spread) if who == "workers" else 0.0
        if not spent or (who == "workers" and not all(in_process)):
            yield _open(name, f"≤ {wanted} ms")
        else:
            own = spent[who] - beside
            yield Goal(name, f"{own:.2f} ms", f"≤ {wanted} ms", own <= wanted)


def _held_rates(summary: Summary) -> Iterator[Goal]:
    def best(wanted: Callable[[Served], bool]) -> Held | None:
        kind = (HELD_ARRIVALS, HELD_LIMIT_MS)
        found = (held for held in held_rates(summary) if (held.arrivals, held.limit_ms) == kind and wanted(held.one))
        return next(found, None)

    stock = best(lambda one: one.key.startswith(STOCK))
    for precision in WEB_PRECISIONS:
        web, peer = best(_is_web(precision)), best(_runs_our_engine(precision))
        others = (
            ("stock handler", stock, HELD_TIMES_STOCK),
            ("best peer with our engine", peer, HELD_TIMES_OUR_ENGINE),
        )
        for other, held, wanted in others:
            name = f"web service, {precision}: highest rate with 99 % in {HELD_LIMIT_MS} ms, against the {other}"
            if web is None or held is None:
                yield _open(name, f"≥ {wanted}×")
                continue
            mine, theirs = web.per_second.median, held.per_second.median
            times = mine / theirs if theirs else inf
            yield Goal(
                name, f"{times:.2f}× ({mine:.0f} against {theirs:.0f}/s)", f"≥ {wanted}×", mine >= wanted * theirs
            )


def _bursts(summary: Summary) -> Iterator[Goal]:
    for precision in WEB_PRECISIONS:
        found = next((bursts for bursts in reached(summary) if _is_web(precision)(bursts.one)), None)
        names = (
            f"web service, {precision}, bursts: in time, of what is possible",
            f"web service, {precision}, bursts: late",
        )
        if found is None:
            yield _open(names[0], f"≥ {OF_ALL_KNOWING:.0%}")
            yield _open(names[1], "0")
        else:
            yield _share(names[0], found.of_all_knowing.median, OF_ALL_KNOWING)
            yield Goal(names[1], str(found.late), "0", found.late == 0)


def _is_web(precision: str) -> Callable[[Served], bool]:
    return lambda one: one.key == f"ours/{precision}/web"


def _runs_our_engine(precision: str, peer: str = "") -> Callable[[Served], bool]:
    """Of peers."""
    return lambda one: one.ours and not one.is_this_project and one.precision == precision and one.key.startswith(peer)


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


def _longer(name: str, lone: Served | None, limit: Spread | None) -> Goal:
    """Than the limit, by at most ``LONE_CLIENT_MS``."""
    wanted = f"≤ {LONE_CLIENT_MS} ms"
    if lone is None or limit is None:
        return _open(name, wanted)
    more = lone.p50_ms.median - limit.median
    measured = f"{lone.p50_ms.median:.1f} − {limit.median:.1f} = {more:.1f} ms"
    return Goal(name, measured, wanted, more <= LONE_CLIENT_MS)


def _share(name: str, ratio: float, wanted: float) -> Goal:
    return Goal(name, f"{ratio:.1%}", f"≥ {wanted:.0%}", ratio >= wanted)


def _open(name: str, wanted: str) -> Goal:
    return Goal(name, "not measured", wanted, None)
