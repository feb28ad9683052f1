"""Hostile input: what a stranger may send, by the hundred thousand, and what becomes of those beside."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.reliability import stage as stages
from tests.reliability.hostile.fuzzing import row_of
from tests.reliability.hostile.inputs import GENERATORS
from tests.reliability.stage import Stage
from tests.reliability.table import Row

#: All rows together, unless another number is given.
INPUTS = 100_000
SEED = 14
#: What each kind of input is, for a person.
WHAT = {
    "pictures": "damaged pictures of all formats, by their structure, to the decoder",
    "forms": "forms to the web service's reader",
    "json": "bodies of JSON to the web service's reader",
    "protocol": "requests of /v2, with and without binary tensors",
    "groups": "requests and groups as the handler gets them",
    "archives": "archives: bombs, damaged, paths that lead elsewhere",
    "weights": "files of weights: pickles that run something, headers and shapes that lie",
    "labels": "files of class names",
    "configuration": "configuration files, records of deployments, orders for live traffic",
}


@dataclass(frozen=True)
class Hostility:
    """What the rows are given."""

    #: Of all rows together, or where ``alone`` of each; ``first`` is the number of each row's first.
    inputs: int
    seed: int
    first: int
    alone: bool
    stage: Stage

    def read(self, key: str) -> Row:
        _, share = GENERATORS[key]
        count = self.inputs if self.alone else round(self.inputs * share)
        return row_of(key, WHAT[key], self.seed, self.first, max(count, 1))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    number: dict[str, Any] = {"type": int, "metavar": "N"}
    parser.add_argument(
        "--inputs", **number, default=INPUTS, help=f"of all rows together, with --first of each (default: {INPUTS:,})"
    )
    parser.add_argument("--seed", **number, default=SEED, help=f"of their making (default: {SEED})")
    parser.add_argument("--first", **number, help="number of the first: a finding is seen again by its own")


@contextmanager
def stage(options: argparse.Namespace) -> Iterator[Hostility]:
    with stages.opened() as opened:
        yield Hostility(options.inputs, options.seed, options.first or 0, options.first is not None, opened)


ROWS: Mapping[str, Callable[[Hostility], Row]] = {key: partial(Hostility.read, key=key) for key in GENERATORS}
