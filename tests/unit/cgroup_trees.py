"""Made-up trees of /proc and /sys/fs/cgroup, as they look to a process with limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: For each kind of system: where hierarchies are mounted with what options, and what a process reads of itself.
#: ``{at}`` is the cgroup of the process.
V2 = ({"unified": "cgroup2 cgroup2 rw"}, "0::{at}\n")
V1 = (
    {"cpu,cpuacct": "cgroup cgroup rw,cpu,cpuacct", "memory": "cgroup cgroup rw,memory"},
    "4:memory:{at}\n2:cpu,cpuacct:{at}\n1:name=systemd:/x\n",
)
HYBRID = ({**V1[0], "unified": "cgroup2 cgroup2 rw"}, V1[1] + "0::/\n")

SYSTEMS = {"v1": V1, "v2": V2, "hybrid": HYBRID}


def make_tree(
    place: Path, system: str, files: Mapping[str, str], *, at: str = "/pod/container", root: str = "/"
) -> Path:
    """The ``proc`` directory of a process in cgroup ``at``, with ``files`` such as ``memory/pod/memory.max``.

    ``root`` is the part of each hierarchy that is mounted, as containers have it.
    """
    mounts, memberships = SYSTEMS[system]
    proc, sys = place / "proc", place / "sys"
    proc.mkdir()
    lines = ["22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/root rw"]
    for name, options in mounts.items():
        (sys / name).mkdir(parents=True)
        lines.append(f"31 22 0:28 {root} {sys / name} rw,nosuid shared:9 - {options}")
    for name, content in files.items():
        (sys / name).parent.mkdir(parents=True, exist_ok=True)
        (sys / name).write_text(content)
    (proc / "mountinfo").write_text("\n".join(lines) + "\n")
    (proc / "cgroup").write_text(memberships.format(at=at))
    return proc


def cpu_quota(system: str, directory: str, quota: int, period: int = 100_000) -> dict[str, str]:
    """The files of a quota for the cgroup ``directory``; -1 for none."""
    if system == "v2":
        return {f"unified{directory}/cpu.max": f"{'max' if quota < 0 else quota} {period}\n"}
    base = f"cpu,cpuacct{directory}"
    return {f"{base}/cpu.cfs_quota_us": f"{quota}\n", f"{base}/cpu.cfs_period_us": f"{period}\n"}


def memory_limit(system: str, directory: str, limit: int | None, used: int, cached: int) -> dict[str, str]:
    """The files of a memory limit for the cgroup ``directory``; None for none."""
    if system == "v2":
        base = f"unified{directory}/memory"
        stat = f"anon 1\ninactive_file {cached}\n"
        return {f"{base}.max": f"{limit or 'max'}\n", f"{base}.current": f"{used}\n", f"{base}.stat": stat}
    base = f"memory{directory}/memory"
    stat = f"inactive_file 1\ntotal_inactive_file {cached}\n"
    unlimited = 9223372036854771712
    return {
        f"{base}.limit_in_bytes": f"{limit or unlimited}\n",
        f"{base}.usage_in_bytes": f"{used}\n",
        f"{base}.stat": stat,
    }
