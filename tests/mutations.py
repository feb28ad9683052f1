"""Damage as transport, storage and attackers do it."""

from __future__ import annotations

import random


def mutate(content: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, removed, put in or cut off; half of the time near the beginning, where headers are."""
    mutated = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        end = min(len(mutated), chance.choice((200, len(content))))
        if end == 0:
            break
        place = chance.randrange(end)
        match chance.randrange(6):
            case 0:
                mutated[place] ^= 1 << chance.randrange(8)
            case 1:
                mutated[place] = chance.choice((0, 1, 127, 128, 255))
            case 2:
                mutated[place : place + 4] = chance.randbytes(4)
            case 3:
                del mutated[place : place + chance.randrange(1, 9)]
            case 4:
                mutated[place:place] = chance.randbytes(chance.randrange(1, 5))
            case 5:
                mutated[place : place + 4] = b"\xff\xff\xff\x7f"
    return bytes(mutated)
