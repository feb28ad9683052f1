"""The Markdown report of a run, built from its records alone."""

from __future__ import annotations

from pathlib import Path

from bench.options import COMPARED_AT
from bench.plan import LARGE_CLIENTS
from bench.plots import draw_plots
from bench.summary import Served, Summary
from bench.table import table
from bench.targets import targets
from bench.time_spent import time_table


def write_report(summary: Summary, directory: Path) -> Path:
    """Write ``report.md`` and the plots it shows into ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    plots = draw_plots(summary, directory)
    sections = [
        "# Benchmark\n",
        _machine(summary),
        _section("What must be true", _targets(summary)),
        _section(f"{COMPARED_AT} clients, photographs", _served(summary.at())),
        *(f"![{alternative}]({file.name})\n" for file, alternative in plots),
        _section("Against the number of clients", _curves(summary)),
        _section(f"12-megapixel photographs, {LARGE_CLIENTS} clients", _served(summary.large())),
        _section("In-process, without a server", _limit(summary)),
        _section("Where the processor's time goes", time_table(summary)),
        _section("Start-up and memory", _starts(summary)),
        _section("Cost growth: images/s against workers, threads and cores", _growth(summary)),
        _section("One more worker", _added(summary)),
        _section("The load generator", _generator(summary)),
        _section("Left out", _left_out(summary)),
    ]
    file = directory / "report.md"
    file.write_text("\n".join(section for section in sections if section), encoding="utf-8")
    return file


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
        "everything else is a failure. Latencies are those of all answers. The load generator shares the cores."
    )
    return "\n".join(lines) + "\n"


def _targets(summary: Summary) -> str:
    words = {True: "yes", False: "**no**", None: "open"}
    rows = ((target.name, target.measured, target.wanted, words[target.met]) for target in targets(summary))
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


def _growth(summary: Summary) -> str:
    rows = (
        (record["workers"], record["threads"], record["cores"], f"{record['per_second']:.1f}",
         f"{record['lone_p50_ms']:.1f}", f"{record['total_mb']:.0f}", record["failures"])
        for record in sorted(summary.of_kind("growth"), key=lambda r: (r["cores"], r["threads"], r["workers"]))
    )  # fmt: skip
    head = (
        "workers",
        "threads of each",
        "cores",
        f"images/s at {COMPARED_AT} clients",
        "lone client ms",
        "MB",
        "failures",
    )
    return table(head, rows)


def _added(summary: Summary) -> str:
    rows = [
        (record["title"], worker["workers"], f"{worker['seconds']:.1f}", f"{worker['extra_mb']:.0f}")
        for record in summary.of_kind("workers added")
        for worker in record["added"]
    ]
    return table(("server", "worker number", "seconds until READY", "MB more (PSS)"), rows)


def _generator(summary: Summary) -> str:
    loads = summary.of_kind("load")
    if not loads:
        return ""
    shares = [load["generator_cpu_s"] / load["seconds"] for load in loads if load["seconds"]]
    costs = [load["generator_cpu_s"] / load["requests"] * 1e3 for load in loads if load["requests"]]
    text = f"wrk used {min(shares):.1%} to {max(shares):.1%} of one core"
    if costs:
        text += f", {sorted(costs)[len(costs) // 2]:.2f} ms of processor time a request in the median"
    if (idle := summary.last("generator")) is not None:
        text += (
            f"; against a server that only reads the same pictures and answers at once it reached "
            f"{idle['per_second']:.0f} requests/s"
        )
    return text + ".\n"


def _left_out(summary: Summary) -> str:
    reasons: dict[str, str] = {}
    for record in summary.records:
        if record["kind"] == "left out":
            reasons[record["candidate"]] = record["reason"]
        elif record["kind"] == "load":  # a resumed run could measure it after all
            reasons.pop(record["server"], None)
    return "".join(f"- {candidate}: {reason}\n" for candidate, reason in sorted(reasons.items()))
