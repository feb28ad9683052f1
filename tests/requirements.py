"""What tests need besides Python's packages, and what becomes of a test where it is missing.

``@pytest.mark.needs("redis-server")`` is judged at collection, before anything is changed: such a test is skipped, and
the run ends with a line for each thing that is missing. In CI, where CI is set, a skip is a failure, except for a GPU.
"""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from marserve.handler.resnet18.cpu import usable_cores
from marserve.handler.resnet18.heif import find_decoder
from tests.deploy.cluster import throwaway
from tests.support import CRDS, PHOTOS, TRACES


@dataclass(frozen=True)
class Requirement:
    """Something that a machine has or lacks."""

    purpose: str
    how_to_get_it: str
    is_there: Callable[[], bool]
    #: Whether CI may lack it.
    is_optional: bool = False


def program(*names: str) -> Callable[[], bool]:
    """Whether PATH has one of ``names``."""
    return lambda: any(map(shutil.which, names))


def program_for_root(name: str) -> Callable[[], bool]:
    """Whether PATH has ``name`` and root runs this."""
    return lambda: os.geteuid() == 0 and shutil.which(name) is not None


def _has_network_namespaces() -> bool:
    if not (Path("/usr/sbin/ip").exists() and shutil.which("unshare")):
        return False
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0  # noqa: S607


def _has_process_namespaces() -> bool:
    if not shutil.which("unshare"):
        return False
    read_only = "mount -o remount,bind,ro /"
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--mount", "sh", "-c", read_only]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _has_nvidia_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


HOW_TO_GET_CONTAINERS = (
    "Debian: apt-get install buildah catatonit containernetworking-plugins iptables mmdebstrap podman runc, and run as "
    "root; macOS has none"
)
REQUIREMENTS = {
    "checkov": Requirement(
        "what checkov thinks of the chart",
        "in an environment of its own: pipx install checkov==3.3.30",
        program("checkov"),
    ),
    "check-jsonschema": Requirement(
        "whether the compose specification knows every field",
        "in an environment of its own: pipx install check-jsonschema==0.39.0",
        program("check-jsonschema"),
    ),
    **{
        name: Requirement("the images, built and run", HOW_TO_GET_CONTAINERS, program_for_root(name))
        for name in ("buildah", "catatonit", "mmdebstrap", "podman", "runc")
    },
    "chromium": Requirement(
        "a real browser for the page",
        "Debian: apt-get install chromium; macOS: brew install --cask google-chrome",
        program("chromium", "google-chrome"),
    ),
    "curl": Requirement("the README's commands", "Debian: apt-get install curl; macOS has it", program("curl")),
    "custom-resource-definitions": Requirement(
        "whether KEDA, KServe and KubeRay know every field",
        f"their definitions in {CRDS}, which are not part of the project",
        CRDS.is_dir,
        is_optional=True,
    ),
    "cykooz-resizer": Requirement(
        "the resize with vector instructions",
        "./scripts/marserve setup dev has it, but not on Linux on ARM",
        lambda: find_spec("cykooz_resizer") is not None,
        is_optional=platform.machine() == "aarch64",
    ),
    "git": Requirement("clones", "Debian: apt-get install git; macOS: xcode-select --install", program("git")),
    "haproxy": Requirement(
        "the proxy before several hosts",
        "Debian: apt-get install haproxy; macOS: brew install haproxy",
        program("haproxy"),
    ),
    "heif": Requirement(
        "the decoder of HEIC pictures", "./scripts/marserve setup dev has it", lambda: find_decoder() is not None
    ),
    "kubernetes-cluster": Requirement(
        "the chart on a real cluster",
        "KUBECONFIG with a throw-away cluster such as kind's or k3d's, kubectl, and the images: docs/kubernetes.md",
        throwaway.is_reachable,
        is_optional=True,
    ),
    "moto_server": Requirement(
        "an object store like S3 on this machine",
        'in an environment of its own: pipx install "moto[s3]==5.2.5", pipx inject moto flask flask-cors',
        program("moto_server"),
    ),
    "network-namespaces": Requirement(
        "networks for the benchmark's servers and for several hosts",
        "Debian: apt-get install iproute2 util-linux, and run as root; macOS has none",
        _has_network_namespaces,
    ),
    "nvidia-gpu": Requirement(
        "the engine for GPUs", "an NVIDIA GPU with its driver", _has_nvidia_gpu, is_optional=True
    ),
    "bf16": Requirement("bf16 in the CPU engine", "a processor with AVX-512 BF16 or AMX, and Linux", _has_bf16),
    "openssl": Requirement(
        "a certificate that nobody vouches for", "Debian: apt-get install openssl; macOS has it", program("openssl")
    ),
    "podman-compose": Requirement(
        "the compose file, run",
        "in an environment of its own: pipx install podman-compose==1.6.0",
        program("podman-compose"),
    ),
    "process-namespaces": Requirement(
        "what two containers see of each other",
        "Debian: apt-get install util-linux, and run as root; macOS has none",
        _has_process_namespaces,
    ),
    "photographs": Requirement(
        "true labels", f"200 labelled photographs in {PHOTOS}, which are not part of the project", PHOTOS.is_dir
    ),
    "prometheus": Requirement(
        "a real Prometheus that watches a stack",
        "Debian: apt-get install prometheus; macOS: brew install prometheus",
        program("prometheus"),
    ),
    "promtool": Requirement(
        "Prometheus' own check of alerts and rules",
        "Debian: apt-get install prometheus; macOS: brew install prometheus",
        program("promtool"),
    ),
    "recordings": Requirement(
        "arrivals of a service in production",
        f"recordings in {TRACES}, which are not part of the project",
        TRACES.is_dir,
        is_optional=True,
    ),
    "redis-server": Requirement(
        "the cache that web services share",
        "Debian: apt-get install redis-server; macOS: brew install redis",
        program("redis-server"),
    ),
    "systemd-analyze": Requirement(
        "systemd's own check of its unit", "Debian: apt-get install systemd; macOS has none", program("systemd-analyze")
    ),
    "two-cores": Requirement("more than one worker", "a machine with two cores", lambda: usable_cores() > 1),
    "wrk": Requirement(
        "the benchmark's load generator", "Debian: apt-get install wrk; macOS: brew install wrk", program("wrk")
    ),
}
WAITING = pytest.StashKey[Counter[str]]()


@functools.cache
def is_there(name: str) -> bool:
    return REQUIREMENTS[name].is_there()


def missing(item: pytest.Item) -> list[str]:
    """What the test needs and this machine lacks."""
    needed = [name for marker in item.iter_markers("needs") for name in marker.args]
    if unknown := set(needed) - set(REQUIREMENTS):
        raise pytest.UsageError(f"{item.nodeid} needs {', '.join(unknown)}, which tests/requirements.py does not list")
    return [name for name in needed if not is_there(name)]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"needs(*names): what the test needs of the machine: {', '.join(REQUIREMENTS)}")
    config.stash[WAITING] = Counter()


@pytest.hookimpl(trylast=True)  # once it is known which tests were chosen
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if names := missing(item):
            config.stash[WAITING].update(names)
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(names)}"))


def is_skip_forbidden(names: list[str]) -> bool:
    """Whether a test that lacks ``names`` fails instead of being skipped."""
    return "CI" in os.environ and not (names and all(REQUIREMENTS[name].is_optional for name in names))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and is_skip_forbidden(missing(item)):
        fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and is_skip_forbidden([]):
        fail(report)
    return report


def fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    path, line, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, report.longrepr)
    report.outcome, report.longrepr = "failed", f"In CI nothing is skipped, but this was: {reason} ({path}:{line})"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes (pytest-xdist) has its counts told by the one that began them."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        waiting = session.config.stash[WAITING]
        output["waiting"] = dict(waiting)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Each of them has looked at every test."""
    waiting: Counter[str] = node.config.stash[WAITING]
    waiting |= Counter(getattr(node, "workeroutput", {}).get("waiting", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    waiting = config.stash[WAITING]
    if waiting:
        terminalreporter.section("missing on this machine")
    for name, count in sorted(waiting.items()):
        requirement = REQUIREMENTS[name]
        tests = "1 test waits" if count == 1 else f"{count} tests wait"
        terminalreporter.line(f"{name}: {tests} for it ({requirement.purpose}). {requirement.how_to_get_it}.")
