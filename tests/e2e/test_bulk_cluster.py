"""``marserve bulk`` on a Ray cluster of two hosts: one is lost, or the driver, or it refuses to begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marserve import __version__
from marserve.archive.build import BuiltArchive
from marserve.system.waiting import wait_until
from tests.deploy.ray_hosts import OWN_FOLDER, RayHosts, ray_hosts
from tests.e2e.bulk_runs import (
    GONE_S,
    RUN_S,
    bulk,
    is_actor,
    labels_of,
    make_pictures,
    others_lines,
    wait_for_parts,
    written,
)
from tests.support import REPOSITORY

pytestmark = [pytest.mark.needs("network-namespaces"), pytest.mark.timeout(900)]

PICTURES, ROWS_PER_FILE = 400, 4
FILES = PICTURES // ROWS_PER_FILE
#: Of each host; what Ray counts as one need not be one of this machine.
CPUS = 2
HEAD, OTHER = 0, 1

#: Makes the command from arguments.
Command = Callable[..., list[str]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHosts]:
    with ray_hosts(tmp_path_factory.mktemp("cluster"), [CPUS, CPUS]) as hosts:
        yield hosts


@pytest.fixture
def hosts(cluster: RayHosts) -> RayHosts:
    """Both, whatever became of one in an earlier test."""
    for host in (HEAD, OTHER):
        if not cluster.is_up(host):
            cluster.start(host)
    return cluster


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "examples"
    make_pictures(folder, PICTURES)
    return folder


@pytest.fixture
def command(hosts: RayHosts, demonstration_archive: BuiltArchive, tmp_path: Path) -> Command:
    """The command with this cluster, into a folder ``classes``."""
    output, usual = tmp_path / "classes", ("--address", hosts.address, "--rows-per-file", ROWS_PER_FILE)

    def given(*arguments: object) -> list[str]:
        return bulk(demonstration_archive.path, output, *usual, *arguments)

    return given


def run(hosts: RayHosts, command: list[str], log: Path, **variables: str) -> tuple[int, str]:
    """Exit status and output of a driver on the head."""
    log.unlink(missing_ok=True)
    driver = hosts.popen(command, log, variables)
    return driver.wait(RUN_S), log.read_text(encoding="utf-8", errors="replace")


def paths_in(folder: Path) -> list[str]:
    return sorted(map(str, folder.iterdir()))


def actors(hosts: RayHosts, host: int) -> int:
    return sum(map(is_actor, hosts.network.processes(host)))


def test_a_host_that_is_killed_costs_no_picture_and_changes_no_label(
    hosts: RayHosts, command: Command, pictures: Path, tmp_path: Path
) -> None:
    output, alone, log = tmp_path / "classes", tmp_path / "alone", tmp_path / "log"
    driver = hosts.popen(command(pictures), log)
    wait_for_parts(output, FILES // 4, driver, log)
    assert (actors(hosts, HEAD), actors(hosts, OTHER)) == (1, 1)
    hosts.network.kill(OTHER)
    assert len(written(output)) < FILES, "killed in the middle"
    assert driver.wait(RUN_S) == 0, log.read_text()
    assert f"{PICTURES} classified at " in log.read_text()
    assert others_lines(log.read_text()) == []
    labels = labels_of(output)
    assert list(labels) == paths_in(pictures)

    assert not hosts.is_up(OTHER)
    status, said = run(hosts, command(pictures, "--output", alone), log)
    assert status == 0, said
    assert labels_of(alone) == labels


def test_a_driver_that_is_killed_leaves_no_actor_and_goes_on(
    hosts: RayHosts, command: Command, pictures: Path, tmp_path: Path
) -> None:
    output, log = tmp_path / "classes", tmp_path / "log"
    driver = hosts.popen(command(pictures), log)
    wait_for_parts(output, FILES // 2, driver, log)
    driver.kill()
    driver.wait()
    assert wait_until(lambda: actors(hosts, HEAD) + actors(hosts, OTHER) == 0, GONE_S)
    before = written(output)
    assert len(before) < FILES, "killed in the middle"
    status, said = run(hosts, command(pictures), log)
    assert status == 0, said
    assert f", {len(before) * ROWS_PER_FILE} known from before" in said
    assert before.items() <= written(output).items()
    assert list(labels_of(output)) == paths_in(pictures)


def test_what_cannot_end_well_does_not_begin(hosts: RayHosts, command: Command, pictures: Path, tmp_path: Path) -> None:
    """Actors without room once a host is lost, results that nobody would find, and another token."""
    log, other = tmp_path / "log", hosts.network.addresses[OTHER]
    status, said = run(hosts, command(pictures, "--actors", CPUS + 1), log)
    assert status == 1
    assert f"have no room once {other} is lost" in said
    assert f"What fits: --actors {CPUS}; or --spare-hosts 0 " in said

    unshared = f"{OWN_FOLDER}/classes"
    status, said = run(hosts, command(pictures, "--output", unshared), log)
    assert status == 1
    assert said.startswith(f"{other} does not see --output {unshared}: give a folder that all hosts share, or ")
    assert len(said.splitlines()) == 1

    status, said = run(hosts, command(pictures), log, RAY_AUTH_TOKEN="1" * 32)
    assert status == 1
    assert said.startswith(f"The cluster at {hosts.address} wants another token: set RAY_AUTH_TOKEN")
    assert len(said.splitlines()) == 1
    assert written(tmp_path / "classes") == {}


def test_a_host_with_another_version_is_named(
    hosts: RayHosts, command: Command, pictures: Path, tmp_path: Path
) -> None:
    older = tmp_path / "older" / "marserve"
    older.mkdir(parents=True)
    for entry in (REPOSITORY / "src" / "marserve").iterdir():
        (older / entry.name).symlink_to(entry)
    (older / "__init__.py").unlink()
    (older / "__init__.py").write_text('__version__ = "0.1.0"\n', encoding="utf-8")
    hosts.network.kill(OTHER)
    hosts.start(OTHER, {"PYTHONPATH": str(older.parent)})
    try:
        status, said = run(hosts, command(pictures), tmp_path / "log")
    finally:
        hosts.network.kill(OTHER)
    other = hosts.network.addresses[OTHER]
    assert (status, said) == (1, f"{other} has marserve 0.1.0, and this is {__version__}.\n")


def test_pictures_that_one_host_lacks_end_the_run(
    hosts: RayHosts, command: Command, pictures: Path, tmp_path: Path
) -> None:
    log, unshared = tmp_path / "log", f"{OWN_FOLDER}/pictures"
    status, said = run(hosts, ["cp", "-r", str(pictures), unshared], log)
    assert status == 0, said
    status, said = run(hosts, command(unshared), log)
    assert status == 1
    (reason,) = others_lines(said)
    assert reason.startswith(f"Folder {unshared} is not there on host ")


def test_a_cluster_without_token_is_refused(demonstration_archive: BuiltArchive, tmp_path: Path) -> None:
    (picture,), log = make_pictures(tmp_path / "pictures", 1), tmp_path / "log"
    with ray_hosts(tmp_path, [CPUS], token=None) as hosts:
        command = bulk(demonstration_archive.path, tmp_path / "classes", picture, "--address", hosts.address)
        for variables in ({"RAY_AUTH_MODE": "token"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 32}):
            status, said = run(hosts, command, log, **variables)
            assert status == 1
            assert said.startswith(f"The cluster at {hosts.address} asks nobody for a token")
            assert len(said.splitlines()) == 1
        status, said = run(hosts, command, log)
        assert status == 0, f"RAY_AUTH_MODE=disabled joins it all the same: {said}"
