"""The Markdown report of a run, built from its records alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.goals import goals
from bench.measurements import PROCESSES, Served, Spread, Summary
from bench.options import COMPARED_AT
from bench.pictures import LARGE_CLIENTS
from bench.plots import draw_plots
from bench.rates import BURST, BURST_DEADLINE_MS, BURST_LOAD, HELD, LIMITS_MS, RUN, SHARE, held_rates, reached


def write_report(summary: Summary, directory: Path) -> Path:
    """Write ``report.md`` and the plots it shows into ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    plots = draw_plots(summary, directory)
    sections = [
        "# Benchmark\n",
        _machine(summary),
        _section("What must be true", _goals(summary)),
        _section(f"{COMPARED_AT} clients, photographs", _served(summary.at())),
        *(f"![{alternative}]({file.name})\n" for file, alternative in plots),
        _section("Against the number of clients", _curves(summary)),
        _section(f"12-megapixel photographs, {LARGE_CLIENTS} clients", _served(summary.large())),
        _section("In-process, without a server", _limit(summary)),
        _section("Where the processor's time goes", time_table(summary)),
        _section(f"Highest rate at which {SHARE:.0%} are answered in time", _held(summary)),
        _section(f"Bursts at {BURST_LOAD:.0%} of the server's own throughput", _bursts(summary)),
        _section("Start-up and memory", _starts(summary)),
        _section("The load generator", _generator(summary)),
        _section("Left out", _left_out(summary)),
        _section("On a GPU", _skipped(summary)),
    ]
    file = directory / "report.md"
    file.write_text("\n".join(section for section in sections if section), encoding="utf-8")
    return file


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; empty where there are no rows. Columns after the first are numbers and stand on the right."""
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    ruler = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join(["| " + " | ".join(head) + " |", ruler, *lines, ""])


def time_table(summary: Summary) -> str:
    """Of this project's servers at ``COMPARED_AT`` clients, medians of rounds, beside the work without a server."""
    measured = {
        (record["candidate"], record["pictures"]): None
        for record in summary.of_kind("load")
        if record["server"].startswith("ours/")
    }
    rows = []
    for key, pictures in measured:
        spent = summary.spent(key, pictures)
        if not spent:
            continue
        _, precision, level = key.split("/")
        in_process = [summary.limit(precision, "throughput", field) for field in ("decode_ms", "infer_ms")]
        alone = f"{sum(spread.median for spread in in_process if spread):.2f}" if all(in_process) else ""
        rows.append((f"{precision} ({level})", alone, *(f"{ms:.2f}" for ms in spent.values())))
    return table(
        ("ms of one core for each answer", "decode and inference in-process", *PROCESSES, "others", "wrk", "unused"),
        rows,
    )


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _machine(summary: Summary) -> str:
    lines = []
    for machine in summary.of_kind("machine"):
        load = ", ".join(f"{value:.2f}" for value in machine["load_before"])
        packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
        lines += [
            f"- {machine['date']}: `{machine['command']}`",
            f"- {machine['processor']}, {machine['cores']} cores ({', '.join(machine['flags'])}), "
            f"{machine['memory_gb']} GB, Linux {machine['kernel']}; load average before: {load}",
            *([f"- GPU: {machine['gpu']}"] if machine.get("gpu") else []),
            f"- Python {machine['python']}, {machine['java']}, {machine['wrk']}; {packages}",
        ]
    if versions := summary.last("peer versions"):
        lines.append("- peers: " + ", ".join(f"{name} {version}" for name, version in versions["versions"].items()))
    lines += [
        f"- {pictures['name']}: {pictures['count']} pictures of {pictures['mean_kb']:.0f} kB on average"
        for pictures in {record["name"]: record for record in summary.of_kind("pictures")}.values()
    ]
    lines.append(
        "- Medians over rounds with the lowest and highest in brackets. A second counts its answers with status 200; "
        "everything else is a failure. Latencies are those of all answers. The load generator shares the cores. "
        "Servers that are called GPU compute on one GPU and decode on the processor; the others do both there."
    )
    return "\n".join(lines) + "\n"


def _goals(summary: Summary) -> str:
    """Empty where only servers on a GPU were measured: all that must be true is about the processor."""
    devices = {record.get("device") for record in summary.records if record["kind"] == "load"}
    if devices == {"gpu"}:
        return ""
    words = {True: "yes", False: "**no**", None: "open"}
    rows = ((goal.name, goal.measured, goal.wanted, words[goal.met]) for goal in goals(summary))
    return table(("", "measured", "wanted", "met"), rows)


def _served(served: list[Served]) -> str:
    rows = ((one.name, one.per_second.text(1), *_latencies(one, 0), one.failures, one.requests) for one in served)
    return table(("server", "answers/s", "p50 ms", "p90 ms", "p99 ms", "failures", "of requests"), rows)


def _curves(summary: Summary) -> str:
    rows = (
        (one.name, one.clients, one.per_second.text(1), *_latencies(one, 1), one.failures)
        for curve in summary.curves().values()
        for one in curve
    )
    return table(("server", "clients", "answers/s", "p50 ms", "p90 ms", "p99 ms", "failures"), rows)


def _latencies(one: Served, decimals: int) -> list[str]:
    """Of a server that answered nothing at all there are none."""
    if one.requests == 0:
        return ["–"] * 3
    return [spread.text(decimals) for spread in (one.p50_ms, one.p90_ms, one.p99_ms)]


def _held(summary: Summary) -> str:
    found = held_rates(summary)
    kinds = [(arrivals, limit) for arrivals in dict.fromkeys(held.arrivals for held in found) for limit in LIMITS_MS]
    figures = {(held.one.name, held.arrivals, held.limit_ms): held for held in found}

    def cell(server: str, arrivals: str, limit: int) -> str:
        held = figures.get((server, arrivals, limit))
        return "" if held is None else held.per_second.text() + ("" if held.valid else " \\*")

    rows = [
        (server, *(cell(server, arrivals, limit) for arrivals, limit in kinds))
        for server in dict.fromkeys(held.one.name for held in found)
    ]
    head = ("requests/s", *(f"{arrivals}, {limit} ms" for arrivals, limit in kinds))
    if not rows:
        return ""
    requests = summary.of_kind(HELD)[-1]["requests"]
    text = (
        f"Each figure is the highest rate, on a scale of 4 % steps, at which {SHARE:.0%} of {requests} requests were "
        "answered with status 200 within the limit, from the moment each was due; refusals and failures are not in "
        "time. 0: none was. The requests come at their own times (open loop), with the same pattern at every server. "
        "This project's web service is told the limit (X-Request-Timeout-Ms), which other servers do not read. "
        "Photographs in color alone: the stock handler fails others at any rate.\n"
    )
    late = "\n\\* The generator was late in one of the runs.\n" if any(not held.valid for held in found) else ""
    return f"{text}\n{table(head, rows)}{late}"


def _bursts(summary: Summary) -> str:
    rows = (
        (
            bursts.one.name, bursts.per_second.text(), _percent(bursts.in_time), _percent(bursts.all_knowing),
            _percent(bursts.of_all_knowing), _percent(bursts.refused), _percent(bursts.failed), bursts.late,
            f"{bursts.worst_late_ms:.0f}" if bursts.late else "",
        )
        for bursts in reached(summary)
    )  # fmt: skip
    body = table(
        ("server", "requests/s", f"in {BURST_DEADLINE_MS} ms", "all-knowing", "of all-knowing", "refused", "failed",
         "accepted and late", "ms late at most"), rows,
    )  # fmt: skip
    text = (
        f"Gamma arrivals with a coefficient of variation of 4, and a deadline of {BURST_DEADLINE_MS} ms for each. "
        "All-knowing: the most that any scheduler could answer in time of the arrivals that were really sent, if each "
        "picture took what it takes at the server's own throughput, so an upper bound.\n"
    )
    return f"{text}\n{body}" if body else ""


def _percent(share: Spread) -> str:
    return Spread(100 * share.median, 100 * share.lowest, 100 * share.highest, share.rounds).text(1) + " %"


def _limit(summary: Summary) -> str:
    rows = []
    for precision in dict.fromkeys(record["candidate"] for record in summary.of_kind("limit throughput")):
        all_cores = summary.limit(precision, "throughput", "images_per_second")
        decode = summary.limit(precision, "throughput", "decode_ms")
        infer = summary.limit(precision, "throughput", "infer_ms")
        lone = [summary.limit(precision, mode, "batch_ms") for mode in ("lone", "lone, one core")]
        spreads = ((all_cores, 1), (decode, 2), (infer, 2), *((spread, 1) for spread in lone))
        rows.append([precision, *(spread.text(decimals) if spread else "" for spread, decimals in spreads)])
    return table(
        ("precision", "images/s, one thread a core", "decode ms", "inference ms", "one picture alone, all cores: ms",
         "on one core: ms"), rows,
    )  # fmt: skip


def _starts(summary: Summary) -> str:
    rows = []
    for candidate in sorted({record["candidate"] for record in summary.of_kind("start")}):
        loaded = [record for record in summary.of_kind("memory loaded") if record["candidate"] == candidate]
        seconds = summary.figure("start", candidate, "seconds")
        memory = summary.figure("memory loaded", candidate, "total_mb")
        parts = sorted(loaded[-1]["processes"], key=lambda part: -part[1]) if loaded else []
        shown = ", ".join(f"{name} {megabytes:.0f}" for name, megabytes in parts[:5])
        more = f" and {len(parts) - 5} more" if len(parts) > 5 else ""
        rows.append(
            (candidate, seconds.text(1) if seconds else "", memory.text() if memory else "", len(parts), shown + more)
        )
    return table(
        ("server", "seconds to the first right answer", "MB (PSS) under load", "processes", "the largest"), rows
    )


def _generator(summary: Summary) -> str:
    loads = summary.of_kind("load")
    if not loads:
        return ""
    shares = [load["generator_cpu_s"] / load["seconds"] for load in loads if load["seconds"]]
    costs = [load["generator_cpu_s"] / load["requests"] * 1e3 for load in loads if load["requests"]]
    text = f"wrk used {min(shares):.1%} to {max(shares):.1%} of one core"
    if costs:
        text += f", {sorted(costs)[len(costs) // 2]:.2f} ms of processor time a request in the median"
    return text + ".\n" + _open_loop_generator(summary)


def _open_loop_generator(summary: Summary) -> str:
    runs = [*summary.of_kind(RUN), *summary.of_kind(BURST)]
    check = summary.last("generator")
    if not runs or check is None:
        return ""
    costs = [run["generator_cpu_s"] / run["requests"] * 1e3 for run in runs]
    shares = [run["generator_cpu_s"] / run["seconds"] for run in runs]
    lags = [run["lag_p99_ms"] for run in runs]
    late = sum(not run["valid"] for run in runs)
    return (
        f"\nThe open-loop generator used {min(shares):.1%} to {max(shares):.1%} of one core, "
        f"{statistics.median(costs):.2f} ms a request in the median. From due to sent, the 99th percentile was "
        f"{statistics.median(lags):.2f} ms in the median of {len(runs)} runs, {max(lags):.2f} ms at most; in {late} "
        f"runs it was late. Against a server that only reads and answers it was on time up to {check['per_second']} "
        f"requests/s ({check['lag_p99_ms']:.2f} ms).\n"
    )


def _left_out(summary: Summary) -> str:
    reasons: dict[str, str] = {}
    for record in summary.records:
        if record["kind"] == "left out":
            reasons[record["candidate"]] = record["reason"]
        elif record["kind"] == "load":  # a resumed run could measure it after all
            reasons.pop(record["server"], None)
    return "".join(f"- {candidate}: {reason}\n" for candidate, reason in sorted(reasons.items()))


def _skipped(summary: Summary) -> str:
    skipped = summary.last("skipped")
    if skipped is None or any(one.device == "gpu" for one in summary.served):
        return ""
    return f"Not measured: {skipped['reason']} There would be:\n\n" + "".join(
        f"- {candidate}\n" for candidate in skipped["candidates"]
    )
