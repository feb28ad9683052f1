"""Workers know of each other, without waiting for each other."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marserve.handler.resnet18.occupancy import Occupancy


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Occupancy]:
    occupancy = Occupancy(tmp_path)
    yield occupancy
    occupancy.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Occupancy]:
    occupancy = Occupancy(tmp_path)
    yield occupancy
    occupancy.close()


def test_a_worker_is_alone_while_the_other_has_nothing_to_do(one: Occupancy, other: Occupancy) -> None:
    with other.at_work():
        pass
    with one.at_work():
        assert one.alone()
        assert one.alone()


def test_neither_is_alone_while_both_are_at_work(one: Occupancy, other: Occupancy) -> None:
    with one.at_work(), other.at_work():
        assert not one.alone()
        assert not other.alone()
        assert not one.alone()


def test_who_was_alone_is_no_longer_when_another_begins(one: Occupancy, other: Occupancy) -> None:
    with one.at_work():
        assert one.alone()
        with other.at_work():
            assert not one.alone()
        assert one.alone()


def test_a_worker_that_is_killed_at_work_is_forgotten(one: Occupancy, tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from pathlib import Path\n"
        "from marserve.handler.resnet18.occupancy import Occupancy\n"
        f"with Occupancy(Path({str(tmp_path)!r})).at_work():\n"
        "    print('at work', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with (
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as worker,
        one.at_work(),
    ):
        assert worker.stdout is not None
        assert worker.stdout.readline() == "at work\n"
        assert not one.alone()
        worker.kill()
        worker.wait(20)
        assert one.alone()


def test_where_nothing_can_be_locked_nobody_is_alone(tmp_path: Path) -> None:
    occupancy = Occupancy(tmp_path / "absent")
    with occupancy.at_work():
        assert not occupancy.alone()
    occupancy.close()


def test_nothing_is_written(one: Occupancy, tmp_path: Path) -> None:
    with one.at_work():
        one.alone()
    assert list(tmp_path.iterdir()) == []
