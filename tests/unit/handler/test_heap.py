"""What a process has taken and no longer uses goes back to the system."""

import subprocess
import sys

import pytest

#: Pictures of some size are read, and something small that lives on is made after each of them.
RUSH = """
from marserve.handler.resnet18.heap import Heap, resident_bytes
kept = []
def rush(size):
    pictures = []
    for _ in range(60_000_000 // size):
        pictures.append(bytearray(size))
        kept.append(bytearray(1_000))
"""


def _printed(code: str) -> list[int]:
    """What ``code``, in a process of its own, prints."""
    run = subprocess.run([sys.executable, "-c", RUSH + code], capture_output=True, text=True, check=True)
    return [int(number) for number in run.stdout.split()]


@pytest.mark.parametrize(
    ("size", "then"),
    [
        pytest.param(2_000_000, "", id="large ones at once"),  # 62 MB would stay
        pytest.param(100_000, "heap.return_free_blocks()", id="small ones when they are looked for"),  # 60 MB
    ],
)
def test_what_pictures_took_is_given_back(size: int, then: str) -> None:
    code = f"""
heap = Heap(2 << 20, 1 << 20)
heap.return_free_blocks()
before = resident_bytes()
for _ in range(3):
    rush({size})
{then}
print(resident_bytes() - before)
"""
    assert _printed(code)[0] < 10_000_000


def test_a_look_while_a_picture_is_read_does_not_make_what_it_takes_the_rule() -> None:
    code = """
heap = Heap(16 << 20)
heap.return_free_blocks()
before = resident_bytes()
pictures = [bytearray(100_000) for _ in range(600)]
kept = [bytearray(1_000) for _ in range(600)]
heap.return_free_blocks()
print(resident_bytes() - before)
pictures = None
kept.append(bytearray(1_000))
heap.return_free_blocks()
print(resident_bytes() - before)
"""
    at_work, afterwards = _printed(code)
    assert at_work > 55_000_000
    assert afterwards < 10_000_000


def test_memory_that_stays_in_use_is_looked_through_for_a_while_only() -> None:
    code = """
trims = 0
class Counting:
    def malloc_trim(self, _):
        global trims
        trims += 1
heap = Heap(1 << 20)
heap._c = Counting()
for _ in range(40):
    heap.return_free_blocks()
print(trims)
kept = bytearray(60_000_000)
for _ in range(100):
    heap.return_free_blocks()
print(trims)
"""
    first, then = _printed(code)
    assert 0 < first <= 30
    assert first < then <= first + 30


def test_one_thread_looks_for_as_long_as_the_process_lives() -> None:
    code = """
import threading, time
for _ in range(3):
    Heap(2 << 20).look_every(0.01)
time.sleep(0.1)
before = resident_bytes()
rush(100_000)
until = time.monotonic() + 10
while (grown := resident_bytes() - before) > 10_000_000 and time.monotonic() < until:
    time.sleep(0.01)
print(grown, [thread.name for thread in threading.enumerate()].count("heap"))
"""
    grown, threads = _printed(code)
    assert grown < 10_000_000
    assert threads == 1
