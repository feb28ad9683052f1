"""The images, built from nothing and run as docs/containers.md has it: two containers of one pod."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from packaging.markers import Marker

from marserve.archive.build import BuiltArchive
from marserve.archive.weights.files import sha256_of
from marserve.system.waiting import wait_until
from tests.deploy.containers import ARCHIVE, RESTRICTED, TORCHSERVE, WEB, Containers, Pod, pod
from tests.deploy.stopping import lost_when_stopped
from tests.support import CAT, REPOSITORY

pytestmark = [
    pytest.mark.needs("buildah", "podman", "runc", "catatonit", "mmdebstrap"),
    pytest.mark.timeout(900),  # the first one waits for the images
]
#: What an image with ResNet18 may have, in bytes.
SERVING_IMAGE_BYTES = 450_000_000
STOPS = 2
BOTH = pytest.mark.parametrize("role", ["torchserve", "web"])
WORKER = "model_service_worker.py"
PROCESSES = """
import os, sys
for process in filter(str.isdigit, os.listdir("/proc")):
    try:
        state = open(f"/proc/{process}/stat").read().rpartition(") ")[2][0]
        print(process, state, open(f"/proc/{process}/cmdline").read().translate({0: " ", 10: " "}))
    except OSError:
        pass
"""
#: Of the image's own files: mounts begin with these.
WALK = """
import os, stat
for folder, folders, files in os.walk("/"):
    mounted = ("/proc", "/sys", "/dev", "/run", "/etc")
    folders[:] = [name for name in folders if f"{folder.rstrip('/')}/{name}" not in mounted]
    for name in (*files, *folders):
        path = os.path.join(folder, name)
        status = os.lstat(path)
        if CONDITION:
            print(path)
"""


@pytest.fixture(scope="module")
def running(containers: Containers) -> Iterator[Pod]:
    with pod(containers, "running", ("--cpus", "1", "--memory", "1g")) as running:
        yield running


def materials(running: Pod, role: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(running.python(role, "print(open('/usr/share/sbom/marserve.cdx.json').read())"))
    return found


def locked(name: str) -> set[str]:
    """Name and version of each package of a list that Debian 12 gets."""
    text = (REPOSITORY / "deploy" / "container" / f"{name}.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9.-]+)==(\S+)(?: ; (.*?))? \\$", text, re.MULTILINE)
    here = {"python_version": "3.11", "python_full_version": "3.11.2"}  # Debian's, on this kind of machine
    return {f"{name}@{version}" for name, version, marker in pins if not marker or Marker(marker).evaluate(here)}


def test_the_serving_image_is_small(containers: Containers) -> None:
    assert containers.inspect(TORCHSERVE)["Size"] <= SERVING_IMAGE_BYTES


@BOTH
def test_a_picture_is_answered_and_each_container_says_so(running: Pod, role: str) -> None:
    answer = requests.post(f"{running.url}/classify", data=CAT.read_bytes(), timeout=30)
    assert len(answer.json()["predictions"]) == 5
    # The supervisor asks for itself, a moment later than the web service.
    check = ("healthcheck", "run", f"running-{role}")
    assert wait_until(lambda: "unhealthy" not in running.containers.podman(*check, check=False), 30)


@BOTH
def test_it_runs_as_a_user_without_any_power(running: Pod, role: str) -> None:
    running.check_power(role)
    for path in ("/opt/marserve/x", "/usr/share/x", "/etc/x", "/tmp/x"):  # noqa: S108 - nothing is written
        assert "Read-only file system" in running.exec(role, "python3", "-c", f"open('{path}', 'w')", check=False)


@BOTH
def test_nothing_in_it_gives_power_or_can_be_replaced_by_its_user(running: Pod, role: str) -> None:
    conditions = (
        "status.st_mode & 0o6000",
        "status.st_uid or status.st_gid",
        "not stat.S_ISLNK(status.st_mode) and status.st_mode & 0o022",
    )
    found = {condition: running.python(role, WALK.replace("CONDITION", condition)) for condition in conditions}
    assert found == dict.fromkeys(conditions, "") | {conditions[2]: "/tmp"}  # noqa: S108
    shells = running.python(
        role, "import shutil; print([name for name in ('sh', 'bash', 'dpkg', 'apt', 'pip') if shutil.which(name)])"
    )
    assert shells == "[]"


def test_no_settings_are_taken_from_what_the_other_container_may_write(running: Pod) -> None:
    running.python("web", "open('/run/marserve/marserve.toml', 'w').write('no_setting = 1')")
    running.exec("torchserve", "marserve", "status")


def test_the_web_image_has_nothing_of_torchserve(running: Pod) -> None:
    names = "('ts', 'openvino', 'numpy', 'torch')"
    script = f"from importlib.util import find_spec; print([name for name in {names} if find_spec(name)])"
    assert running.python("web", script) == "[]"
    assert running.python("torchserve", script) == "['ts', 'openvino', 'numpy']"


@BOTH
def test_its_packages_are_those_of_its_list_and_the_bill_names_each_and_debians(running: Pod, role: str) -> None:
    script = (
        "from importlib.metadata import distributions as all; print(*(f'{d.name.lower()}@{d.version}' for d in all()))"
    )
    installed = {re.sub(r"[-_.]+(?=[^@]*@)", "-", name) for name in running.python(role, script).split()}
    assert {name for name in installed if not name.startswith("marserve@")} == locked(role)
    named = [component.get("purl", "") for component in materials(running, role)["components"]]
    assert {f"pkg:pypi/{name}" for name in locked(role) if not name.startswith("wheel@")} - set(named) == set()
    debian = {purl.split("/")[2].partition("@")[0] for purl in named if purl.startswith("pkg:deb/debian/")}
    assert {"base-files", "libc6", "libssl3", "python3.11-minimal"} <= debian
    assert ("openjdk-17-jre-headless" in debian) == (role == "torchserve")


def test_one_core_and_one_gigabyte_are_all_that_it_takes(running: Pod) -> None:
    commands = running.python("torchserve", PROCESSES)
    assert commands.count(WORKER) == 1
    heap_mb = re.search(r"-Xmx(\d+)m", commands)
    assert heap_mb is not None
    assert int(heap_mb[1]) < 600
    state = json.loads(running.python("torchserve", "print(open('/run/marserve/.run/5000/state.json').read())"))
    assert (state["concurrency"]["workers"], state["concurrency"]["threads"]) == (1, 1)
    assert "READY" in running.exec("torchserve", "marserve", "status")


def test_only_the_web_service_can_be_reached_from_outside(running: Pod) -> None:
    listening = running.python("web", "print(open('/proc/net/tcp').read(), open('/proc/net/tcp6').read())")
    found = {
        (line.split()[1].split(":")[0], int(line.split()[1].split(":")[1], 16))
        for line in listening.splitlines()
        if " 0A " in line
    }
    assert {port for address, port in found if not address.endswith("0100007F")} == {5000}


def test_java_is_started_again_and_leaves_no_zombie(running: Pod) -> None:
    def java() -> str:
        return next(
            (line.split()[0] for line in running.python("torchserve", PROCESSES).splitlines() if "/opt/java/" in line),
            "",
        )

    killed = java()
    running.python("torchserve", f"import os; os.kill({killed}, {signal.SIGKILL.value})")
    assert wait_until(lambda: java() not in ("", killed), 30)
    assert wait_until(lambda: WORKER in running.python("torchserve", PROCESSES), 60), running.logs()
    assert wait_until(running.is_ready, 60), running.logs()
    for role in ("torchserve", "web"):
        states = Counter(line.split()[1] for line in running.python(role, PROCESSES).splitlines())
        assert states["Z"] == 0


def test_an_archive_alone_is_an_image_that_says_what_it_is(
    containers: Containers, resnet18_archive: BuiltArchive, tmp_path: Path
) -> None:
    digest = sha256_of(resnet18_archive.path)
    labels = containers.inspect(ARCHIVE)["Labels"]
    assert labels["marserve.archives"] == f"resnet18.mar=sha256:{digest}"
    container = containers.podman("create", ARCHIVE, "none").strip()
    containers.podman("export", "--output", tmp_path / "files.tar", container)
    containers.run("tar", "--extract", "--file", tmp_path / "files.tar", "--directory", tmp_path)
    assert sha256_of(tmp_path / "models" / "resnet18.mar") == digest
    assert (tmp_path / "models" / "resnet18.mar.sha256").read_text(encoding="utf-8") == f"{digest}  resnet18.mar\n"


def test_another_archive_than_the_digest_says_is_not_served(
    containers: Containers, resnet18_archive: BuiltArchive, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)  # the user of the container may read it
    (tmp_path / "resnet18.mar").write_bytes(resnet18_archive.path.read_bytes())
    (tmp_path / "resnet18.mar.sha256").write_text(f"{'0' * 64}  resnet18.mar\n", encoding="utf-8")
    said = containers.podman(
        "run",
        "--rm",
        *RESTRICTED,
        "--volume=other:/run/marserve",
        f"--volume={tmp_path}:/models:ro",
        TORCHSERVE,
        check=False,
    )
    assert "resnet18.mar is not the archive that it should be" in said
    assert "Ready" not in said


@pytest.mark.parametrize("image", [WEB, TORCHSERVE])
def test_it_says_what_it_is_and_nothing_of_how_it_was_built(containers: Containers, image: str) -> None:
    about = containers.inspect(image)
    labels = {
        name.rpartition(".")[2]: value
        for name, value in about["Labels"].items()
        if name.startswith("org.opencontainers")
    }
    assert {"title", "description", "licenses", "version", "created"} <= set(labels)
    assert labels["version"] == WEB.partition(":")[2]
    assert about["Config"]["User"] == "10001:10001"
    assert about["Config"]["StopSignal"] == "SIGTERM"
    history = json.dumps(about)
    assert "pip.conf" not in history
    assert not [value for value in (os.environ.get("PIP_INDEX_URL"), str(Path.home())) if value and value in history]


def test_a_stop_under_load_answers_all_that_was_taken(containers: Containers) -> None:
    for number in range(STOPS):
        with pod(containers, f"stopped{number}") as stopped:
            # podman 4 ends the network of a pod first, if it is to stop all of it.
            stop = partial(containers.podman, "stop", f"{stopped.name}-web", f"{stopped.name}-torchserve")
            assert lost_when_stopped(stopped.port, stop) == [], stopped.logs()
            for role in ("torchserve", "web"):
                state = json.loads(containers.podman("inspect", f"{stopped.name}-{role}"))[0]["State"]
                assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
