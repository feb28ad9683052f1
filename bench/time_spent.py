"""Where the processor's time goes: milliseconds of one core for each answer, by who used them."""

from __future__ import annotations

import statistics

from bench.journal import Record
from bench.options import COMPARED_AT
from bench.summary import Summary
from bench.table import table

#: Named processes of this project's servers, by a word in their names; whatever else there is stands under "others".
PROCESSES = {"workers": "model_service_worker", "TorchServe's Java": "java", "web service": "web"}


def time_table(summary: Summary) -> str:
    """Of this project's servers at ``COMPARED_AT`` clients, medians of rounds, beside the work without a server."""
    machine = summary.last("machine")
    measured: dict[tuple[str, str], list[Record]] = {}
    for record in summary.of_kind("load"):
        if record["server"].startswith("ours/") and "server_cpu_s" in record and record["clients"] == COMPARED_AT:
            measured.setdefault((record["candidate"], record["pictures"]), []).append(record)
    if machine is None or not measured:
        return ""
    rows = []
    for (key, _), records in measured.items():
        _, precision, level = key.split("/")
        spent = [_spent(record, machine["cores"]) for record in records]
        medians = {who: statistics.median(each[who] for each in spent) for who in spent[0]}
        in_process = [summary.limit(precision, "throughput", field) for field in ("decode_ms", "infer_ms")]
        alone = f"{sum(spread.median for spread in in_process if spread):.2f}" if all(in_process) else ""
        rows.append((f"{precision} ({level})", alone, *(f"{ms:.2f}" for ms in medians.values())))
    return table(
        ("ms of one core for each answer", "decode and inference in-process", *PROCESSES, "others", "wrk", "unused"),
        rows,
    )


def _spent(record: Record, cores: int) -> dict[str, float]:
    per_answer = dict.fromkeys((*PROCESSES, "others"), 0.0)
    for name, seconds in record["server_cpu_s"].items():
        who = next((who for who, word in PROCESSES.items() if word in name.split(" ")[-1]), "others")
        per_answer[who] += seconds
    per_answer["wrk"] = record["generator_cpu_s"]
    per_answer["unused"] = cores * record["seconds"] - sum(per_answer.values())
    return {who: 1000 * seconds / max(1, record["ok"]) for who, seconds in per_answer.items()}
