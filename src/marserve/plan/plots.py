"""The plot of a plan: shares by load, the day with its pods, and the crowd."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from marserve.plan.report import PlanReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Seconds over which the crowd's answers are put together.
PART_S = 10.0
GREEN, GREY, ORANGE = "#1f7a4d", "#627d98", "#e6a23c"


def draw(report: PlanReport, limit_s: float, file: Path) -> None:
    """Write ``file``, whose ending says the format. Needs matplotlib; raises OSError, or ValueError for the format."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (by_load, day, crowd) = pyplot.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    try:
        _by_load(report, by_load)
        _day(report, day)
        _crowd(report, limit_s, crowd)
        figure.savefig(file, dpi=120)
    finally:
        pyplot.close(figure)


def _by_load(report: PlanReport, axes: Axes) -> None:
    loads = [at.load for at in report.loads]
    for limit, color in zip(
        report.loads[0].shares if report.loads else (), (ORANGE, GREEN, GREY, "black"), strict=False
    ):
        shares = [100 * at.shares[limit] for at in report.loads]
        axes.plot(loads, shares, marker="o", color=color, label=f"within {limit * 1e3:g} ms")
    axes.set(title="Answers in time (simulated)", xlabel="load of each pod", ylabel="% of all requests", ylim=(0, 102))
    axes.grid(alpha=0.3)
    axes.legend()


def _day(report: PlanReport, axes: Axes) -> None:
    rates = axes.twinx()
    for (name, day), color in zip(report.days.items(), (GREY, GREEN), strict=False):
        hours = [second / 3600 for second, _, _ in day.course]
        axes.step(hours, [pods for _, _, pods in day.course], color=color, label=name, where="post", linewidth=0.8)
        rates.plot(hours, [per_s for _, per_s, _ in day.course], color=ORANGE, alpha=0.6)
    axes.set(title="A day (extrapolated)", xlabel="hour", ylabel="pods", xlim=(0, 24))
    axes.set_ylim(bottom=0)
    rates.set_ylabel("requests/s", color=ORANGE)
    rates.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()


def _crowd(report: PlanReport, limit_s: float, axes: Axes) -> None:
    if report.crowd is None:
        return
    run = report.crowd.run
    end_s = run.due[-1]
    starts = [PART_S * number for number in range(int(end_s / PART_S))]
    shares = [100 * run.share(limit_s, start, start + PART_S) for start in starts]
    axes.step(starts, shares, where="post", color=GREEN, label=f"within {limit_s * 1e3:g} ms")
    axes.set(title="A crowd, with the HPA", xlabel="seconds", ylabel="% of all requests", ylim=(0, 102))
    pods = axes.twinx()
    pods.step([at for at, _, _ in run.pods], [there for _, _, there in run.pods], where="post", color=GREY)
    pods.set_ylabel(f"pods ready, of a cell that began with {report.crowd.cell}", color=GREY)
    pods.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
