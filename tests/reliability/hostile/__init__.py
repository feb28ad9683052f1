"""Hostile input: what a stranger may send, by the hundred thousand, and what becomes of those beside.

It takes 15 minutes for the 93,000 inputs that need no stack, measured on two busy cores (--inputs 10000: a tenth), and
two for ``bombs``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.reliability import stage as stages
from tests.reliability.hostile import wire
from tests.reliability.hostile.bodies import form_body, json_body, picture
from tests.reliability.hostile.bombs import BOMBS
from tests.reliability.hostile.fuzzing import row_of
from tests.reliability.hostile.inputs import GENERATORS, chance_of
from tests.reliability.hostile.lingering import kinds as lingering_kinds
from tests.reliability.hostile.wire import Attack, attack, framed
from tests.reliability.stage import Stage
from tests.reliability.table import Row
from tests.reliability.under_load import MODEL

#: All rows together, unless another number is given.
INPUTS = 100_000
SEED = 14
#: Shares of the rows with a stack, whose inputs cost a hundred times as much.
WIRE_SHARE, TORCHSERVE_SHARE = 0.03, 0.01
LINGERING_OF_A_KIND = 12
BOMBS_OF_A_KIND, BOMBS_AT_ONCE = 6, 16
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
        return row_of(key, WHAT[key], self.seed, self.first, self.of_all(GENERATORS[key][1]))

    def clear(self) -> None:
        self.stage.clear()

    def of_all(self, share: float) -> int:
        return self.inputs if self.alone else max(round(self.inputs * share), 1)


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


def framing(given: Hostility) -> Row:
    """What is nearly HTTP."""
    count = given.of_all(WIRE_SHARE)

    async def strike(attack: Attack) -> None:
        numbers = range(given.first, given.first + count)
        await attack.all(
            partial(attack.send, *framed(chance_of("framing", given.seed, number)), is_open=True) for number in numbers
        )

    name = (
        f"{count:,} connections with what is nearly HTTP: smuggled requests, odd lengths and chunks (seed {given.seed})"
    )
    return attack(given.stage.shared(), name, strike)


def nonsense(given: Hostility) -> Row:
    """What is HTTP and makes no sense."""
    count = given.of_all(WIRE_SHARE)

    async def strike(attack: Attack) -> None:
        numbers = range(given.first, given.first + count)
        await attack.all(
            partial(attack.send, wire.nonsense(chance_of("nonsense", given.seed, number))) for number in numbers
        )

    name = f"{count:,} requests with impossible parameters, headers, names and bodies (seed {given.seed})"
    return attack(given.stage.shared(), name, strike)


def lingering(given: Hostility) -> Row:
    """Connections without an end."""

    async def strike(attack: Attack) -> None:
        kinds = lingering_kinds(attack) * LINGERING_OF_A_KIND
        await attack.all(kinds, at_once=len(kinds))

    kinds_of = "byte by byte, endless heads, bodies and chunks, answers that nobody takes"
    name = f"{LINGERING_OF_A_KIND} of each kind of connection without an end: {kinds_of}"
    return attack(given.stage.shared(), name, strike)


def bombs(given: Hostility) -> Row:
    """Small files that become large pictures."""
    contents = [make() for make in BOMBS.values()]

    async def strike(attack: Attack) -> None:
        sent = [content + b"%d" % number for number in range(BOMBS_OF_A_KIND) for content in contents]
        await attack.all(
            (partial(attack.send, wire.post("/predict", content)) for content in sent), at_once=BOMBS_AT_ONCE
        )

    name = f"{BOMBS_OF_A_KIND} each of {len(BOMBS)} bombs, {BOMBS_AT_ONCE} at once: {', '.join(BOMBS)}"
    return attack(given.stage.shared(), name, strike)


def torchserve(given: Hostility) -> Row:
    """Past the web service, as only a process of this machine with its token can."""
    tested = given.stage.shared()
    token = f"Authorization: {tested.stack.authorization()['Authorization']}"
    count = given.of_all(TORCHSERVE_SHARE)

    def sent(number: int) -> bytes:
        chance = chance_of("torchserve", given.seed, number)
        kind, body = chance.choice((json_body, form_body))(chance)
        if chance.random() < 0.3:
            kind, body = chance.choice(("image/jpeg", "text/plain", "application/x-picture-group")), picture(chance)
        clean = kind.replace("\r", "").replace("\n", "")
        return wire.post(f"/predictions/{MODEL}", body, token, f"Content-Type: {clean}")

    async def strike(attack: Attack) -> None:
        numbers = range(given.first, given.first + count)
        await attack.all(partial(attack.send, sent(number)) for number in numbers)

    name = f"{count:,} hostile bodies past the web service, with TorchServe's token (seed {given.seed})"
    return attack(tested, name, strike, port=tested.stack.ports.inference_port)


#: Those that share a stack come last.
ROWS: Mapping[str, Callable[[Hostility], Row]] = {
    **{key: partial(Hostility.read, key=key) for key in GENERATORS},
    "framing": framing,
    "nonsense": nonsense,
    "lingering": lingering,
    "bombs": bombs,
    "torchserve": torchserve,
}
