"""The tables of a comparison, as they stand in docs/planning.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from bench.planned.comparison import LIMITS_MS, MOST_OFF, MOST_POINTS, PREDICTIONS, Comparison, Error
from bench.planned.session import Part
from bench.planned.spent import PARTS
from bench.report import table
from marserve.plan.load import MOST_LAG_MS
from marserve.plan.measurement import Measurement
from marserve.plan.pod_spec import PodSpec
from marserve.plan.report import SLOWER

BEGIN, END = "<!-- checked -->", "<!-- end of checked -->"


def report_lines(
    measurement: Measurement, spec: PodSpec, parts: Sequence[Part], compared: Sequence[Comparison]
) -> Iterator[str]:
    """The section of the docs: what was run, and what came of it."""
    yield from _conditions(measurement, spec, parts, compared)
    yield ""
    yield table(
        ["arrivals", "load", "requests", "p50 ms", "predicted", "off", "p99 ms", "predicted", "off",
         "within 100 ms", "predicted", "points", "within 250 ms", "predicted", "holds"],
        map(_row, compared),
    )  # fmt: skip
    held = [each for each in compared if each.error.holds]
    held_at_pace = sum(each.error_at_pace.holds for each in compared)
    certain = sum(each.is_certain for each in held)
    count = len(compared)
    yield (
        f"Predicted is the median of {PREDICTIONS} simulated runs. It holds if p50 and p99 are within {MOST_OFF:.0%}, "
        f"and the share within 100 ms within {MOST_POINTS:g} points: {len(held)} of {count} do, {certain} of them "
        f"whatever chance might have made of it. At the pace that the machine had in each load {held_at_pace} of "
        f"{count} do. How much of the errors chance and the machine explain:"
    )
    yield ""
    yield table(
        ["arrivals", "load", "of the capacity", "p50 off, by chance", "p99 off, by chance", "points, by chance",
         "p99 ms of simulated runs", "workers took", "p50 off at that pace", "p99 off", "points", "holds at that pace"],
        map(_explained, compared),
    )  # fmt: skip
    yield (
        "Of the capacity: the real rate over it; the load was set by the rounds until then. By chance: nine tenths of "
        "the errors of blocks of some seconds, drawn again and again. Workers took: their seconds over those that are "
        "predicted for groups of the same sizes, and the least and the most of the parts in which the load came. At "
        "that pace: all in the pod takes as much longer from half second to half second, so that what is left is the "
        "error of the model and not of the machine."
    )
    yield ""
    alike = sum(each.halves.holds for each in compared)
    yield (
        f"How near a prediction can come: what it says of a machine that is {SLOWER - 1:.0%} slower, and what the "
        f"first half of each load would have said of the second, were it the prediction; {alike} of {count} such "
        "would hold."
    )
    yield ""
    yield table(
        ["arrivals", "load", f"p50, {SLOWER - 1:.0%} slower", "p99", "within 100 ms, points",
         "p50, half for half", "p99", "within 100 ms, points"],
        map(_limits, compared),
    )  # fmt: skip


def spent_lines(compared: Sequence[Comparison]) -> Iterator[str]:
    """Where a prediction goes wrong."""
    rows = [
        [
            f"{each.arrivals} {each.load:g}",
            *(f"{real:.1f} / {expected:.1f}" for real, expected in zip(part.real_ms, part.simulated_ms, strict=True)),
        ]
        for each in compared
        for part in each.spent
    ]
    yield table(["mean ms of a picture, real / predicted", *PARTS], rows)


def _conditions(
    measurement: Measurement, spec: PodSpec, parts: Sequence[Part], compared: Sequence[Comparison]
) -> Iterator[str]:
    machine, model, capacity = measurement.machine, measurement.model, measurement.capacity
    where = "another machine" if machine is None else f"{machine.processor}, {machine.cores} cores"
    pictures, noise = measurement.pictures, measurement.noise
    least, most = min(capacity.rounds_per_s), max(capacity.rounds_per_s)
    yield (
        f"`python -m bench.planned --pictures photographs`, {measurement.measured_at[:10]}: one pod (web service, "
        f"TorchServe, {measurement.pod.workers} worker) with {model.name} in {model.precision}, {where}, the load "
        f"generator on the same cores; {pictures.count} photographs of {pictures.mean_bytes / 1e3:.0f} kB, none of "
        f"them in the cache. Capacity {capacity.per_s:.1f}/s ({least:.1f} to {most:.1f} from round to round; of the "
        f"model {spec.capacity_per_s:.1f})."
    )
    late_ms = max((each.lag_p99_ms for each in compared), default=0.0)
    steal = max([noise.steal_share, *(part.disturbance.steal_share for part in parts)])
    others = max([noise.other_cores, *(part.disturbance.other_cores for part in parts)])
    yield (
        f"The hypervisor took at most {steal:.1%} of the cores' time in any load, and other processes "
        f"{others:.2f} cores; the generator was at most {late_ms:.1f} ms late (99th percentile)."
    )
    for reason in noise.reasons:
        yield f"**Not to be trusted**: {reason}."
    if late_ms > MOST_LAG_MS:
        yield "**Not to be trusted**: the load generator itself was late."


def _row(each: Comparison) -> list[str]:
    real, predicted, error = each.real, each.predicted, each.error
    near, far = LIMITS_MS
    return [
        each.arrivals, f"{each.load:g}", f"{each.requests:,}",
        f"{real.p50_ms:.1f}", f"{predicted.p50_ms:.1f}", f"{error.p50_off:+.0%}",
        f"{real.p99_ms:.0f}", f"{predicted.p99_ms:.0f}", f"{error.p99_off:+.0%}",
        f"{real.within[near]:.1%}", f"{predicted.within[near]:.1%}", f"{error.points:+.1f}",
        f"{real.within[far]:.1%}", f"{predicted.within[far]:.1%}",
        _verdict(error) + ("" if each.is_certain else ", by chance"),
    ]  # fmt: skip


def _explained(each: Comparison) -> list[str]:
    least, most, error = each.least, each.most, each.error_at_pace
    return [
        each.arrivals,
        f"{each.load:g}",
        f"{each.share:.2f}",
        f"{least.p50_off:+.0%} to {most.p50_off:+.0%}",
        f"{least.p99_off:+.0%} to {most.p99_off:+.0%}",
        f"{least.points:+.1f} to {most.points:+.1f}",
        "{:.0f} to {:.0f}".format(*each.predicted_p99_ms),
        _took(each),
        *_error(error),
        _verdict(error),
    ]


def _took(each: Comparison) -> str:
    ratios = [part.worker_ratio - 1 for part in each.spent]
    return f"{fmean(ratios):+.1%} ({min(ratios):+.1%} to {max(ratios):+.1%})"


def _limits(each: Comparison) -> list[str]:
    return [each.arrivals, f"{each.load:g}", *_error(each.slower), *_error(each.halves)]


def _error(error: Error) -> list[str]:
    return [f"{error.p50_off:+.0%}", f"{error.p99_off:+.0%}", f"{error.points:+.1f}"]


def _verdict(error: Error) -> str:
    return "yes" if error.holds else "**no**"


def with_section(page: str, content: str) -> str:
    """``page`` with ``content`` between its markers. Raises ValueError where it has none."""
    before, found, rest = page.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"the page lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{content}\n{END}{after}"
