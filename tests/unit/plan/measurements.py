"""A measurement of a pod that does not exist."""

from __future__ import annotations

from typing import Any

from marserve.plan.measurement import Measurement, Samples

#: Seconds of its worker for a group, and for each picture in it.
GROUP_S, PICTURE_S = 0.002, 0.006
BATCH = 8


def samples(mean_s: float, *factors: float) -> dict[str, Any]:
    return dict(Samples.of([mean_s * factor for factor in factors or (0.9, 1.0, 1.1)] * 10))


def measurement(**changes: Any) -> Measurement:
    """One worker on two cores; ``changes`` replace whole parts."""
    service = [
        {"busy": 1, "pictures": size, **samples(GROUP_S + PICTURE_S * size)}
        for size in range(1, BATCH + 1)
        if size != 5
    ]
    content: dict[str, Any] = {
        "measured_at": "2026-11-26T12:00:00+00:00", "marserve": "1.0", "seconds": 110.0,
        "machine": {"processor": "a processor", "cores": 2, "flags": [], "memory_bytes": 8e9, "kernel": "6"},
        "model": {
            "name": "resnet18", "version": "1.0", "architecture": "resnet18", "precision": "bf16", "archive": None,
            "sha256": None, "batch_size": BATCH, "batch_delay_s": 0.001,
        },
        "pod": {"workers": 1, "threads": 1, "threads_when_alone": 1, "cold_start_s": 5.0},
        "pictures": {"count": 200, "mean_bytes": 110_000, "source": "photographs"},
        "service": service,
        "hop": {**samples(0.003), "per_picture_s": 0.0, "between_groups_s": 0.002},
        "web": {
            **samples(0.0015), "cpu_s_per_picture": 0.001, "torchserve_cpu_s_per_picture": 0.0004,
            "worker_cpu_s_per_picture": 0.006, "generator_cpu_s_per_picture": 0.0002,
        },
        "capacity": {
            "per_s": 150.0, "clients": 32, "rounds_per_s": [149.0, 150.0, 151.0], "mean_group": 8.0,
            "worker_busy": 0.95, "loaded": service,
        },
        "runs": [],
        "noise": {
            "steal_share": 0.0, "other_cores": 0.0, "load_before": 0.0, "foreign_requests": 0, "reasons": [],
        },
    }  # fmt: skip
    return Measurement.model_validate(content | changes)
