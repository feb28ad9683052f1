"""What a plan says: each number with where it is from, as text, as JSON and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any, Literal

from marserve.plan.day import DAY_S, AtLoad, Day, Demand, between, by_load, day
from marserve.plan.hpa import HpaRules
from marserve.plan.measurement import Measurement
from marserve.plan.mishaps import CROWD_S, Crowd, flash_crowd, lose_zone
from marserve.plan.planning import CELL_PODS, Setting, beside_a_lost_zone

#: Where a number is from: measured on a machine, simulated with all its pods, a cell's multiplied, or the user's word.
Origin = Literal["measured", "simulated", "extrapolated", "given"]
#: Rates of the table, pictures a day.
TABLE_PER_DAY = (10**6, 10**7, 10**8, 10**9)
#: A virtual machine is slower or faster by this for minutes, which nothing but its answers shows.
SLOWER = 1.05
#: Hours of a month: a twelfth of a year of 365 days.
MONTH_HOURS = 730.0


@dataclass(frozen=True)
class Figure:
    name: str
    text: str
    value: Any
    origin: Origin


@dataclass(frozen=True)
class Price:
    """Of an hour of one core or of one pod, in whatever money the user counts in; None: not given."""

    core_hour: float | None = None
    pod_hour: float | None = None

    def of_pod(self, cores: float) -> float | None:
        if self.pod_hour is not None:
            return self.pod_hour
        return None if self.core_hour is None else self.core_hour * cores


@dataclass(frozen=True)
class WhatIfs:
    """What else may happen."""

    zones: int = 3
    crowd: float = 3.0
    autoscaled: HpaRules | None = None
    table: bool = False


@dataclass
class PlanReport:
    """All that a plan found; ``sections`` by their titles."""

    sections: dict[str, list[Figure]] = field(default_factory=dict)
    #: Of the table: pictures a day, and what is needed for them.
    table: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    # For the plot.
    loads: list[AtLoad] = field(default_factory=list)
    days: dict[str, Day] = field(default_factory=dict)
    crowd: Crowd | None = None

    def add(self, section: str, name: str, text: str, value: Any, origin: Origin) -> None:
        self.sections.setdefault(section, []).append(Figure(name, text, value, origin))

    def lines(self) -> list[str]:
        """For a person."""
        width = max(len(one.name) for figures in self.sections.values() for one in figures)
        wide = max(len(one.text) for figures in self.sections.values() for one in figures)
        found: list[str] = []
        for title, figures in self.sections.items():
            found += ["", title] if found else [title]
            found += [f"  {one.name:<{width}}  {one.text:<{wide}}  {one.origin}" for one in figures]
        if self.table:
            found += ["", *table_lines(self.table)]
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "sections": {
                title: {one.name: {"value": one.value, "origin": one.origin} for one in figures}
                for title, figures in self.sections.items()
            },
            "table": self.table,
            "warnings": self.warnings,
        }


def table_lines(table: Sequence[dict[str, Any]]) -> list[str]:
    """Aligned columns, whose names are the keys."""
    cells = [list(table[0]), *[[_cell(value) for value in line.values()] for line in table]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]


def _cell(value: Any) -> str:
    return (
        "-"
        if value is None
        else f"{value:,}"
        if isinstance(value, int)
        else f"{value:,.2f}"
        if isinstance(value, float)
        else str(value)
    )


def make_plan(
    measurement: Measurement,
    setting: Setting,
    demand: Demand,
    *,
    limits_s: Sequence[float],
    pods: int | None,
    price: Price,
    what_ifs: WhatIfs,
) -> PlanReport:
    """Pods for the busiest hour, a day with them, what may happen to them, and the table."""
    report = PlanReport(warnings=[f"The measurement is not to be trusted: {why}." for why in measurement.noise.reasons])
    _measured(report, measurement, setting)
    peak_per_s = demand.peak_per_s
    needed = pods or setting.pods_for(peak_per_s)
    if needed is None:
        report.warnings.append(
            f"No number of pods answers {setting.goal.share:.4g} of all within {setting.goal.limit_s * 1e3:g} ms: even "
            "a lone picture takes too long, or the bursts are too dense. Allow more time, or a smaller share."
        )
        return report
    origin: Origin = "simulated" if needed <= CELL_PODS else "extrapolated"
    _busiest_hour(report, setting, demand, needed, limits_s, origin, is_given=pods is not None)
    spared = beside_a_lost_zone(needed, what_ifs.zones)
    report.loads = by_load(setting, needed, limits_s)
    rules = what_ifs.autoscaled or HpaRules(min(max(ceil(needed / 4), 2), needed), ceil(1.5 * what_ifs.crowd * needed))
    usual = sum(
        weight * at.in_flight for at, weight in between(report.loads, peak_per_s / needed / setting.spec.capacity_per_s)
    )
    report.add("The busiest hour", "in flight of each, a target for an HPA", f"{usual:.1f}", usual, origin)
    _day(report, setting, demand, needed, rules, price)
    title = f"A zone of {what_ifs.zones} is lost in the busiest hour"
    lost = lose_zone(setting, spared, peak_per_s, what_ifs.zones)
    from_cell: Origin = "simulated" if lost.cell >= spared else "extrapolated"
    within = f"within {setting.goal.limit_s * 1e3:g} ms"
    report.add(title, "pods, so that enough are left", f"{spared}", spared, origin)
    for name, share in (
        (f"{within} until the load balancer knows", lost.noticing),
        (f"{within} until they are replaced", lost.short),
        (f"{within} after that", lost.after),
        ("not answered meanwhile", lost.unanswered),
    ):
        report.add(title, name, f"{share:.2%}", share, from_cell)
    _crowd(report, setting, needed, peak_per_s, what_ifs.crowd, rules, within)
    if what_ifs.table:
        report.table = table(setting, demand, price, what_ifs.zones)
    return report


def _measured(report: PlanReport, measurement: Measurement, setting: Setting) -> None:
    title, spec, model = "One pod", setting.spec, measurement.model
    as_measured = spec.workers == measurement.pod.workers
    report.add(
        title,
        "model",
        f"{model.name} {model.version}, {model.precision or 'precision unknown'}",
        model.name,
        "measured",
    )
    if measurement.machine is not None:
        machine = measurement.machine
        report.add(title, "on", f"{machine.processor}, {machine.cores} cores", machine.processor, "measured")
    report.add(title, "workers", f"{spec.workers}", spec.workers, "measured" if as_measured else "given")
    report.add(title, "cores", f"{spec.cores:g}", spec.cores, "given")
    if as_measured:
        capacity = measurement.capacity.per_s
        report.add(title, "capacity", f"{capacity:.0f} pictures/s", capacity, "measured")
    modelled = spec.capacity_per_s
    report.add(
        title, "capacity of the model", f"{modelled:.0f} pictures/s", modelled,
        "simulated" if as_measured else "extrapolated",
    )  # fmt: skip
    report.add(
        title, "cold start", f"{setting.cold_start_s:.1f} s, from wanted to ready", setting.cold_start_s,
        "measured" if measurement.pod.cold_start_s else "given",
    )  # fmt: skip


def _busiest_hour(
    report: PlanReport, setting: Setting, demand: Demand, pods: int, limits_s: Sequence[float], origin: Origin,
    *, is_given: bool,
) -> None:  # fmt: skip
    title, peak = "The busiest hour", demand.peak_per_s
    report.add(title, "requests", f"{peak:,.1f}/s", peak, "given")
    report.add(title, "arrivals", f"{setting.arrivals.name}, {setting.balance}", setting.arrivals.name, "given")
    report.add(title, "pods", f"{pods}", pods, "given" if is_given else origin)
    report.add(title, "workers", f"{pods * setting.spec.workers}", pods * setting.spec.workers, origin)
    run = setting.run(pods, peak)
    slower = replace(setting, spec=setting.spec.slowed(SLOWER)).run(pods, peak)
    load = peak / (pods * setting.spec.capacity_per_s)
    report.add(title, "load of each", f"{load:.2f}", load, origin)
    for limit in limits_s:
        share = run.share(limit)
        report.add(title, f"within {limit * 1e3:g} ms", f"{share:.2%}", share, origin)
    goal_s = setting.goal.limit_s
    share = slower.share(goal_s)
    report.add(title, f"within {goal_s * 1e3:g} ms if {SLOWER - 1:.0%} slower", f"{share:.2%}", share, origin)
    for percent in (50, 99):
        seconds = run.percentile_s(percent)
        report.add(title, f"p{percent}", f"{seconds * 1e3:.0f} ms", seconds, origin)
    report.add(title, "refused or too late", f"{run.unanswered():.2%}", run.unanswered(), origin)


def _day(report: PlanReport, setting: Setting, demand: Demand, pods: int, rules: HpaRules, price: Price) -> None:
    per_day = demand.per_s * DAY_S
    for name, scaled in (("fixed pods", None), (f"HPA {rules.minimum}..{rules.maximum}", rules)):
        found = day(setting, demand, report.loads, pods, scaled)
        report.days[name] = found
        title = f"A day of {per_day:,.0f} pictures, {name}"
        report.add(
            title, "pod-hours", f"{found.pod_hours:,.0f}, {found.most} pods at most", found.pod_hours, "extrapolated"
        )
        for limit, share in found.shares.items():
            report.add(title, f"within {limit * 1e3:g} ms", f"{share:.2%}", share, "extrapolated")
        each = price.of_pod(setting.spec.cores)
        if each is not None:
            cost = found.pod_hours * each
            report.add(
                title, "cost of a month", f"{cost * MONTH_HOURS / 24:,.2f}", cost * MONTH_HOURS / 24, "extrapolated"
            )
            report.add(title, "cost of a million", f"{cost / per_day * 1e6:,.2f}", cost / per_day * 1e6, "extrapolated")


def _crowd(
    report: PlanReport, setting: Setting, pods: int, per_s: float, factor: float, rules: HpaRules, within: str
) -> None:
    crowd = flash_crowd(setting, pods, per_s, factor, rules)
    report.crowd = crowd
    origin: Origin = "simulated" if crowd.cell >= pods else "extrapolated"
    title = f"A crowd: {factor:g} times the busiest hour for {CROWD_S:.0f} s"
    report.add(title, f"{within}, fixed pods", f"{crowd.fixed:.2%}", crowd.fixed, origin)
    report.add(title, f"{within}, HPA", f"{crowd.autoscaled:.2%}", crowd.autoscaled, origin)
    settled = "not while it lasts" if crowd.settled_s is None else f"after {crowd.settled_s:.0f} s"
    report.add(title, "all is well again, HPA", settled, crowd.settled_s, origin)


def table(setting: Setting, demand: Demand, price: Price, zones: int) -> list[dict[str, Any]]:
    """What each of ``TABLE_PER_DAY`` takes, with the same course of the day."""
    found = []
    held = setting.held_per_pod()
    for per_day in TABLE_PER_DAY:
        peak = per_day / DAY_S * demand.peak_per_s / demand.per_s
        least = ceil(peak / setting.spec.capacity_per_s)
        pods = setting.pods_for(peak) if least <= CELL_PODS else ceil(peak / held) if held else None
        each = price.of_pod(setting.spec.cores)
        spared = None if pods is None else beside_a_lost_zone(pods, zones)
        found.append(
            {
                "pictures/day": per_day,
                "peak/s": round(peak, 1),
                "pods": pods,
                "workers": None if pods is None else pods * setting.spec.workers,
                "with a zone spare": spared,
                "cost/month": None if each is None or spared is None else round(spared * each * MONTH_HOURS, 2),
                "from": "simulated" if pods is not None and pods <= CELL_PODS else "extrapolated",
            }
        )
    return found
