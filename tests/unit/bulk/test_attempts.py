"""Which picture ends the process that reads it, found across processes that end."""

from __future__ import annotations

import subprocess
import sys

import pytest

from marserve.bulk.attempts import DEADLY, Attempt, DeadlyPicture
from marserve.handler.resnet18.errors import RequestError


class Died(BaseException):
    """In place of a process that ends: nothing after it is done."""


class Notes(dict[str, str]):
    """A store that outlives all of them."""

    def put(self, key: str, value: str) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        del self[key]


def compute(store: Notes, pictures: str, batch_size: int) -> str:
    """An actor's loop over a piece of ``pictures``, of which ``x`` ends it; its rows: ``e`` is an error."""
    attempt = Attempt(store, "piece")
    size = batch_size if attempt.is_first else 1
    rows = ""
    for begin in range(0, len(pictures), size):
        with attempt.at(begin) as may_be_tried:
            batch = pictures[begin : begin + size]
            if may_be_tried and "x" in batch:
                raise Died
            rows += batch if may_be_tried else "e" * len(batch)
    attempt.end()
    return rows


@pytest.mark.parametrize(
    ("pictures", "rows", "deaths"),
    [("abcd", "abcd", 0), ("abxd", "abed", 1 + DEADLY), ("xbxd", "ebed", 1 + 2 * DEADLY)],
)
def test_each_deadly_picture_gets_an_error_and_the_others_their_rows(pictures: str, rows: str, deaths: int) -> None:
    store, died = Notes(), 0
    while True:
        try:
            assert compute(store, pictures, 2) == rows
            break
        except Died:
            died += 1
    assert died == deaths
    assert not store, "nothing stays behind"


def test_a_host_that_is_lost_costs_no_picture() -> None:
    store = Notes()
    for _ in range(5):
        with pytest.raises(Died):
            compute(store, "abcx", 4)  # the x stands for the host
        store.put("piece", store["piece"].replace('"at": 3', '"at": null'))
    assert compute(store, "abcd", 4) == "abcd"


def test_its_row_says_what_happened() -> None:
    error = DeadlyPicture()
    assert isinstance(error, RequestError)
    assert error.kind == "DeadlyPicture"


HANGS = """
import sys, time
from marserve.bulk import attempts
attempts.LONGEST_BATCH_S = 0.5
class Notes(dict):
    put = dict.__setitem__
with attempts.Attempt(Notes(), "piece").at(0):
    time.sleep(60)
"""


def test_a_process_that_hangs_with_a_picture_ends_itself() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
