"""The plots of a run; each is left out where its figures are missing."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.measurements import Served, Summary
from bench.options import COMPARED_AT
from bench.rates import LIMITS_MS, RUN, SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE = Path(__file__).with_name("style.mplstyle")
#: By what a server runs: eager torch with default threads, with one thread, our engine in it, this project.
COLORS = {"recipe": "#9aa5b1", "one thread": "#627d98", "our engine": "#e6a23c", "this project": "#1f7a4d"}
#: Lines of a curve plot; more cannot be distinguished.
MOST_CURVES = 8


def draw_plots(summary: Summary, directory: Path) -> list[tuple[Path, str]]:
    """Draw what there are figures for; (file, what it shows in words) of each."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    plots: list[tuple[str, str, Callable[[Summary, Any], bool]]] = [
        ("bars.png", f"Answers a second at {COMPARED_AT} clients, by server", _bars),
        ("throughput.png", "Answers a second against clients", _throughput),
        ("latency.png", "Latency against clients", _latency),
        ("rates.png", "Share of requests answered in time against their rate", _rates),
        ("start-and-memory.png", "Start-up time and memory by server", _start_and_memory),
    ]
    drawn = []
    with pyplot.style.context(str(STYLE)):
        for name, alternative, draw in plots:
            figure = pyplot.figure()
            if draw(summary, figure):
                figure.savefig(directory / name)
                drawn.append((directory / name, alternative))
            pyplot.close(figure)
    return drawn


def _bars(summary: Summary, figure: Any) -> bool:
    served = summary.at()[::-1]
    if not served:
        return False
    figure.set_size_inches(9, 1.2 + 0.24 * len(served))
    axes: Axes = figure.subplots()
    spreads = [one.per_second for one in served]
    errors = [[s.median - s.lowest for s in spreads], [s.highest - s.median for s in spreads]]
    names = [one.name for one in served]
    colors = [COLORS[_family(one)] for one in served]
    bars = axes.barh(names, [s.median for s in spreads], xerr=errors, color=colors, ecolor="#333333", height=0.75)
    axes.bar_label(bars, fmt="%.0f", padding=6, fontsize=8)
    axes.set(
        title=f"{COMPARED_AT} clients, photographs", xlabel="answers/s (status 200), median; line: lowest to highest"
    )
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", labelsize=8)
    present = {_family(one) for one in served}
    from matplotlib.patches import Patch

    axes.legend(handles=[Patch(color=color, label=name) for name, color in COLORS.items() if name in present])
    return True


def _throughput(summary: Summary, figure: Any) -> bool:
    curves = list(summary.curves().values())[:MOST_CURVES]
    if not curves:
        return False
    axes: Axes = figure.subplots()
    for curve in curves:
        clients = [one.clients for one in curve]
        (line,) = axes.plot(clients, [one.per_second.median for one in curve], marker="o", label=curve[0].name)
        lowest, highest = [one.per_second.lowest for one in curve], [one.per_second.highest for one in curve]
        axes.fill_between(clients, lowest, highest, color=line.get_color(), alpha=0.15, linewidth=0)
    _clients_axis(axes, curves)
    axes.set(title="Throughput against clients", ylabel="answers/s (status 200)")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=2)
    return True


def _latency(summary: Summary, figure: Any) -> bool:
    curves = list(summary.curves().values())[:MOST_CURVES]
    if not curves:
        return False
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, field, title in ((left, "p50_ms", "Median latency"), (right, "p99_ms", "99th percentile")):
        for curve in curves:
            medians = [getattr(one, field).median for one in curve]
            axes.plot(
                [one.clients for one in curve], medians, marker="o", label=curve[0].name if axes is left else None
            )
        _clients_axis(axes, curves)
        axes.set_yscale("log")
        axes.set(title=title)
    left.set_ylabel("ms")
    figure.legend(loc="outside lower center", ncols=2)
    return True


def _rates(summary: Summary, figure: Any) -> bool:
    runs = [run for run in summary.of_kind(RUN) if run["limit_ms"] in (None, LIMITS_MS[0])]
    kinds = list(dict.fromkeys(run["arrivals"] for run in runs))
    names = {one.key: one.name for one in summary.at()}
    keys = [key for key in names if any(run["candidate"] == key for run in runs)][:MOST_CURVES]
    if not keys:
        return False
    figure.set_size_inches(4.5 * max(2, len(kinds)), 4.5)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        for key in keys:
            shares: dict[float, list[float]] = {}
            for run in runs:
                if (run["candidate"], run["arrivals"]) == (key, kind):
                    in_time = run["in_time"][str(LIMITS_MS[0])] / run["requests"]
                    shares.setdefault(run["rate"], []).append(100 * in_time)
            rates = sorted(shares)
            label = names[key] if axes is panels[0] else None
            axes.plot(rates, [statistics.median(shares[rate]) for rate in rates], marker=".", label=label)
        axes.axhline(100 * SHARE, color="#333333", linewidth=0.8, linestyle=":")
        axes.set(title=kind, xlabel="requests/s", ylim=(0, 101))
    panels[0].set_ylabel(f"answered within {LIMITS_MS[0]} ms, %")
    figure.legend(loc="outside lower center", ncols=2)
    return True


def _start_and_memory(summary: Summary, figure: Any) -> bool:
    candidates = sorted({record["candidate"] for record in summary.of_kind("start")}, reverse=True)
    if not candidates:
        return False
    figure.set_size_inches(10, 1.2 + 0.24 * len(candidates))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, kind, field, title, unit in (
        (left, "start", "seconds", "Start to the first right answer", "s"),
        (right, "memory loaded", "total_mb", "Memory of all processes (PSS) under load", "MB"),
    ):
        spreads = [summary.figure(kind, candidate, field) for candidate in candidates]
        values = [spread.median if spread else 0 for spread in spreads]
        ours = [COLORS["this project"] if name.startswith("ours/") else COLORS["one thread"] for name in candidates]
        bars = axes.barh(candidates, values, color=ours, height=0.75)
        axes.bar_label(bars, fmt="%.1f" if unit == "s" else "%.0f", padding=3, fontsize=8)
        axes.set(title=title, xlabel=unit)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", labelsize=8)
    return True


def _clients_axis(axes: Axes, curves: list[list[Served]]) -> None:
    clients = sorted({one.clients for curve in curves for one in curve})
    axes.set_xscale("log", base=2)
    axes.set_xticks(clients, [str(number) for number in clients])
    axes.minorticks_off()
    axes.set_xlabel("clients")


def _family(one: Served) -> str:
    if one.is_this_project:
        return "this project"
    if one.ours:
        return "our engine"
    return "one thread" if "1 thread" in one.key or "one thread" in one.key else "recipe"
