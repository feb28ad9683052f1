"""Images and containers of a test run: in a storage of their own, of which nothing is left when it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from marserve import __version__
from tests.e2e.serving import quiet_ports
from tests.support import REPOSITORY

BUILD = REPOSITORY / "deploy" / "container" / "build"
BASE = "localhost/debian:bookworm"
#: What buildah needs on machines without systemd.
HERE = (
    "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096", "--runtime", "runc",
    "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro",
)  # fmt: skip
#: Seconds for a build that downloads everything.
BUILD_S = 600
#: Seconds until a picture is answered, on a machine that does much else.
READY_S = 90
GRACE_S = 30
WEB = f"marserve-web:{__version__}"
TORCHSERVE = f"marserve-torchserve:{__version__}"
ARCHIVE = f"marserve-archive:{__version__}"
#: As docs/containers.md has it: nothing can be written but the volume, and nobody is root.
RESTRICTED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")


class Containers:
    """podman and buildah with a storage in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        settings = {
            "containers.conf": '[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            f'tmp_dir = "{directory}/libpod"\n',
            "storage.conf": f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/storage"\n'
            f'runroot = "{directory}/run"\n',
        }
        for name, text in settings.items():
            (directory / name).write_text(text, encoding="utf-8")
        self.environment = os.environ | {
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
            "TMPDIR": str(directory),
        }

    def run(self, *command: str | Path, timeout_s: float = 120, check: bool = True) -> str:
        """Standard output of ``command``; where it may fail (not ``check``), all that it says."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def podman(self, *arguments: str | Path, timeout_s: float = 120, check: bool = True) -> str:
        return self.run("podman", *arguments, timeout_s=timeout_s, check=check)

    def inspect(self, image: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.podman("image", "inspect", image))[0]
        return found

    def make_base(self) -> None:
        """A small Debian, as the base images of registries are."""
        packages = self.directory / "debian.tar"
        self.run(
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--include=ca-certificates",
            "bookworm",
            packages,
            timeout_s=300,
        )
        self.podman("import", "--quiet", packages, BASE)
        packages.unlink()

    def build(self, *arguments: str | Path) -> None:
        """As a person does, with what this machine needs besides: certificates, and an index of packages."""
        pip = self.directory / "pip.conf"
        pip.write_text(_pip_settings(), encoding="utf-8")
        command = (BUILD, "--builder", "buildah", "--base", BASE, *arguments, "--")
        self.run(*command, *HERE, "--secret", f"id=pip,src={pip}", timeout_s=BUILD_S)

    def remove(self) -> None:
        for command in (("pod", "rm", "--all", "--force"), ("rm", "--all", "--force", "--time", "0")):
            self.podman(*command, check=False)
        self.podman("volume", "rm", "--all", "--force", check=False)
        self.run("buildah", "rm", "--all", check=False)
        self.run("buildah", "rmi", "--all", "--force", check=False)
        # What a container held is let go a moment later.
        for mount in reversed(_mounts_below(self.directory)):
            subprocess.run(["umount", "--lazy", mount], check=False)  # noqa: S607
        shutil.rmtree(self.directory, ignore_errors=True)


def _mounts_below(directory: Path) -> list[str]:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return [mount for mount in mounts if mount.startswith(f"{directory}/")]


def _pip_settings() -> str:
    """Those of this machine that a container can use as well."""
    known = ("cert", "index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
    done = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=False)  # noqa: S607
    lines = ["[global]"]
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        if (key := name.rpartition(".")[2]) in known and "file:" not in value:
            lines.append(f"{key} = {value.strip(chr(39))}")
    return "\n".join(dict.fromkeys(lines)) + "\n"


@dataclass
class Pod:
    """The two containers, as docs/containers.md starts them."""

    containers: Containers
    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *torchserve: str) -> None:
        """Again, too; ``torchserve``: options of podman for that container."""
        podman = self.containers.podman
        podman("pod", "create", "--name", self.name, "--publish", f"127.0.0.1:{self.port}:5000")
        shared = "type=tmpfs", "device=tmpfs", "o=uid=10001,gid=10001,mode=0700"
        podman("volume", "create", *(word for option in shared for word in ("--opt", option)), self.name)
        common = (
            "run", "--detach", "--pod", self.name, *RESTRICTED, "--volume", f"{self.name}:/run/marserve",
            "--stop-timeout", str(GRACE_S), "--env", f"MARSERVE_GRACE_S={GRACE_S}",
        )  # fmt: skip
        podman(*common, "--name", f"{self.name}-torchserve", *torchserve, TORCHSERVE)
        podman(*common, "--name", f"{self.name}-web", WEB)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while not self.is_ready():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)

    def is_ready(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return bool(requests.get(f"{self.url}/readyz", timeout=5).ok)
        return False

    def exec(self, role: str, *command: str, check: bool = True) -> str:
        return self.containers.podman("exec", f"{self.name}-{role}", *command, check=check)

    def python(self, role: str, script: str) -> str:
        """There is no shell."""
        return self.exec(role, "python3", "-c", script).strip()

    def check_power(self, role: str) -> None:
        """It runs as nobody, who has no capability and gains none."""
        status = self.python(role, "print(open('/proc/1/status').read())")
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert set(facts["Uid"].split()) == set(facts["Gid"].split()) == {"10001"}
        assert {int(facts[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert facts["NoNewPrivs"] == "1"

    def logs(self) -> str:
        return "".join(
            self.containers.podman("logs", "--tail", "30", f"{self.name}-{role}", check=False)
            for role in ("torchserve", "web")
        )

    def remove(self) -> None:
        self.containers.podman("pod", "rm", "--force", "--time", "1", self.name, check=False)
        self.containers.podman("volume", "rm", "--force", self.name, check=False)


@contextmanager
def pod(containers: Containers, name: str, torchserve: Sequence[str] = ()) -> Iterator[Pod]:
    """One that answers, removed afterwards."""
    started = Pod(containers, name, quiet_ports(1)[0])
    try:
        started.start(*torchserve)
        started.wait_until_ready()
        yield started
    finally:
        started.remove()
