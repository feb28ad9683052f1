"""Records of a run that never was, for tests of what is made of them."""

from __future__ import annotations

from bench.measurements import Record


def load(key: str, per_second: float, *, clients: int = 32, round_number: int = 1, **fields: object) -> Record:
    """One measurement; the server of a three-part key is its first two parts."""
    server = "/".join(key.split("/")[:2])
    record: Record = {
        "kind": "load", "candidate": key, "server": server, "title": server, "pictures": "photographs",
        "round": round_number, "clients": clients, "ours": server.startswith("ours/") or "our engine" in server,
        "per_second": per_second, "seconds": 6.0, "requests": int(per_second * 6), "ok": int(per_second * 6),
        "failures": 0, "p50_ms": 1000 * clients / per_second, "p90_ms": 1200 * clients / per_second,
        "p99_ms": 1500 * clients / per_second, "generator_cpu_s": 0.2,
    }  # fmt: skip
    return record | fields


def start(candidate: str, seconds: float, megabytes: float) -> list[Record]:
    """A start, and the memory under load."""
    return [
        {"kind": "start", "candidate": candidate, "round": 1, "seconds": seconds},
        {"kind": "memory loaded", "candidate": candidate, "round": 1, "total_mb": megabytes,
         "processes": [["python", megabytes]]},
    ]  # fmt: skip


def open_loop(key: str, arrivals: str, held_100: float, held_250: float, **fields: object) -> list[Record]:
    """One round's searches with a run each, and the bursts; ``fields`` are for the bursts."""
    server = "/".join(key.split("/")[:2])
    about: Record = {
        "candidate": key, "server": server, "title": server, "round": 1, "arrivals": arrivals, "requests": 1000,
        "ours": server.startswith("ours/") or "our engine" in server,
    }  # fmt: skip
    run: Record = {
        **about, "seconds": 5.0, "in_time": {"100": 900, "250": 950}, "refused": 20, "errors": 5,
        "failures": {"no answer in time": 5}, "valid": True, "lag_p99_ms": 0.2,
        "generator_cpu_s": 0.1,
    }  # fmt: skip
    return [
        {"kind": "held rate", **about, "limit_ms": 100, "per_second": held_100, "valid": True},
        {"kind": "held rate", **about, "limit_ms": 250, "per_second": held_250, "valid": False},
        {"kind": "open loop", **run, "rate": held_100, "limit_ms": None},
        {"kind": "bursts", **run, "per_second": 100.0, "limit_ms": 100, "takes_deadlines": True, "all_knowing": 950,
         "late": 0, "worst_late_ms": 0.0, **fields},
    ]  # fmt: skip


def complete_run() -> list[Record]:
    """Every kind of record that a report shows."""
    return [
        {"kind": "machine", "date": "2026-11-24 19:39 UTC", "command": "./scripts/bench --quick", "processor": "EPYC",
         "cores": 2, "flags": ["avx2"], "memory_gb": 16.0, "kernel": "6.1", "python": "3.11.7", "java": "17",
         "wrk": "wrk 4.1.0", "load_before": [0.1, 0.2, 0.3], "packages": {"torch": "2.14.1"}},
        {"kind": "peer versions", "versions": {"litserve": "0.2"}},
        {"kind": "pictures", "name": "photographs", "count": 200, "mean_kb": 105.0},
        *(load(f"ours/{precision}/TorchServe", rate, clients=clients)
          for precision, rate in (("f32", 120.0), ("bf16", 210.0), ("int8", 330.0))
          for clients in (1, 16, 32, 256)),
        *(load("ours/f32/TorchServe", rate, round_number=number) for number, rate in ((2, 110.0), (3, 130.0))),
        load("ours/f32/web", 100.0,
             server_cpu_s={"java": 0.3, "python model_service_worker.py": 10.2, "python web": 0.6, "bash": 0.06}),
        load("ours/f32/TorchServe", 80.0, clients=8, pictures="12 megapixels"),
        load("torchserve_stock/best", 8.0, clients=8, pictures="12 megapixels"),
        load("torchserve_stock/best", 50.0, failures=7),
        load("litserve/2 workers, 1 thread", 70.0),
        load("litserve/our engine f32", 115.0),
        *start("ours/f32", 4.0, 700.0),
        *start("litserve/2 workers, 1 thread", 6.0, 900.0),
        {"kind": "limit throughput", "candidate": "f32", "round": 1, "images_per_second": 125.0, "decode_ms": 1.8,
         "infer_ms": 14.0, "batch_ms": 126.0},
        {"kind": "limit lone", "candidate": "f32", "round": 1, "images_per_second": 60.0, "decode_ms": 1.8,
         "infer_ms": 7.0, "batch_ms": 9.0},
        {"kind": "limit lone, one core", "candidate": "f32", "round": 1, "images_per_second": 60.0, "decode_ms": 1.8,
         "infer_ms": 14.0, "batch_ms": 16.0},
        {"kind": "generator", "per_second": 4000, "lag_p99_ms": 0.2, "cpu_ms": 0.1},
        load("ours/int8/web", 300.0,
             server_cpu_s={"java": 0.18, "python model_service_worker.py": 10.8, "python web": 0.9}),
        load("litserve/our engine int8", 250.0),
        load("pytriton/our engine int8", 330.0),
        *open_loop("ours/int8/web", "poisson", 240.0, 280.0),
        *open_loop("torchserve_stock/best", "poisson", 30.0, 40.0),
        *open_loop("litserve/our engine int8", "poisson", 160.0, 200.0, late=3, worst_late_ms=80.0),
        {"kind": "limit throughput", "candidate": "int8", "round": 1, "images_per_second": 400.0, "decode_ms": 1.5,
         "infer_ms": 4.0, "batch_ms": 44.0},
        {"kind": "left out", "candidate": "pytriton/recipe", "title": "PyTriton", "reason": "no wheel | for this"},
    ]  # fmt: skip
