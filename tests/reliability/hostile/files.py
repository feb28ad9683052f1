"""Files that somebody damaged or made to do harm: archives, weights, class names, configuration and records."""

from __future__ import annotations

import io
import json
import pickle  # nosec B403 # what is written with it is never read with it
import random
import struct
import warnings
import zipfile
from functools import cache
from typing import Any

from tests.mutations import mutate
from tests.reliability.hostile.bodies import NAMES, NONSENSE, as_bytes, bits_of_json
from tests.reliability.hostile.structures import ODD


def archive(chance: random.Random) -> bytes:
    """A .mar: a zip file of a handler, labels and descriptions, with what zip files can have wrong."""
    described = {"model": "m", "version": "1.0", "weights": {"source": "s", "trained": True}}
    files: dict[str, bytes] = {
        "MAR-INF/MANIFEST.json": json.dumps({"model": {"modelName": "m", "modelVersion": "1.0"}}).encode(),
        "description.json": json.dumps(described).encode(),
        "model-config.yaml": b"handler:\n  threads: 2\n",
    }
    for name in files:
        match chance.randrange(8):
            case 0:
                files[name] = as_bytes(bits_of_json(chance), chance)
            case 1:
                files[name] = b"[" * 100_000
            case 2 if chance.random() < 0.2:
                files[name] = bytes(30_000_000)
            case 3:
                files[name] = mutate(files[name], chance)
    made = io.BytesIO()
    compression = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(made, "w") as mar:
        for name, content in [*files.items(), *files.items()][: chance.choice((3, 3, 3, 3, 6))]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of two files of one name
                named = chance.choice((*[name] * 20, f"../{name}", f"/{name}"))
                mar.writestr(zipfile.ZipInfo(named), content, compression)  # dated 1980: the same tomorrow
    content = made.getvalue()
    return mutate(content, chance) if chance.random() < 0.6 else content


class Run:
    """What a pickle may ask for."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def weights(chance: random.Random) -> bytes:
    """Files of weights: pickles that would run something, headers that lie, shapes that nothing could hold."""
    match chance.randrange(4):
        case 0:
            header = {
                chance.choice(("fc.weight", "conv1.weight", "x", "")): {
                    "dtype": chance.choice(("F32", "I64", "F8_E4M3", "X", 5)),
                    "shape": [chance.choice(ODD) for _ in range(chance.randrange(4))],
                    "data_offsets": [chance.choice(ODD), chance.choice(ODD)],
                }
                for _ in range(chance.randrange(1, 4))
            }
            said = json.dumps(header).encode()
            return struct.pack("<Q", chance.choice((len(said), len(said), 2**63, 10**8, 0))) + said + bytes(64)
        case 1:
            run = chance.choice(
                (Run(_fail, ()), Run(bytearray, (2**40,)), Run(list, (range(10**6),)), NONSENSE, {"a": 1})
            )
            return mutate(pickle.dumps(run, chance.randrange(6)), chance)
        case 2:
            return mutate(_saved(), chance)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_saved())) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(zipfile.ZipInfo(name), mutate(content, chance) if chance.random() < 0.5 else content)
    return made.getvalue()


def _fail() -> None:
    raise SystemExit("something in a weights file was run")


@cache
def _saved() -> bytes:
    import torch

    made = io.BytesIO()
    torch.save({"state_dict": {"fc.weight": torch.zeros(3, 4), "fc.bias": torch.zeros(3)}, "epoch": 3}, made)
    return made.getvalue()


def labels(chance: random.Random) -> tuple[str, bytes]:
    """Ending and content of a file of class names."""
    lines = [f"{number}{chance.choice((' ', ',', ': ', chr(9)))}{chance.choice(NAMES)}" for number in range(20)]
    content = chance.choice(
        (
            "\n".join(lines).encode("utf-8", "replace"),
            as_bytes(bits_of_json(chance), chance),
            b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (98 + i, 98 + i, 97 + i, 97 + i) for i in range(24)),
            b"[" * chance.choice((10, 5000, 200_000)),
            b"(" * 500 + b")" * 500,
            b'{"a": ' * 5000,
            b"- " * 5000 + b"x",
            json.dumps({"0": "cat", "1": "dog"}).encode(),
            b"names:\n  0: cat\n  1: dog\n",
        )
    )
    return chance.choice((".txt", ".json", ".yaml", ".csv")), mutate(
        content, chance
    ) if chance.random() < 0.5 else content


def configuration(chance: random.Random) -> bytes:
    """marserve.toml, the record of deployments, an order for live traffic: what programs read and others may write."""
    version = {"version": "1", "archive": "a.mar", "sha256": "", "source": ""}
    record = {"format": 1, "base": {}, "models": {"m": {"current": version, "before": None}}, "pending": None}
    order = {"id": "1", "model": "m", "stable": "1", "candidate": "2", "mode": "canary", "share": 0.1, "expires": 1}
    content = chance.choice(
        (
            b"web_port = 5000\nhost = '127.0.0.1'\n[serve]\nworkers = 2\n",
            b"a = " + b"[" * chance.choice((10, 5000)),
            b"a." * 2000 + b"b = 1",
            b"x = 9" + b"9" * 5000,
            json.dumps(record).encode(),
            json.dumps(order).encode(),
            as_bytes(bits_of_json(chance), chance),
        )
    )
    return mutate(content, chance) if chance.random() < 0.7 else content
