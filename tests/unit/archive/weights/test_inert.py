"""Nothing in a weights file is executed, however it is hidden, and none takes more memory than it is long."""

from __future__ import annotations

import io
import pickle  # nosec B403 # makes the attacks
import random
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from marserve.archive.weights.architecture import skeleton
from marserve.archive.weights.content import read_content
from marserve.archive.weights.files import WeightsError, WeightsFile
from marserve.archive.weights.inert import Inert, InertUnpickler
from marserve.archive.weights.state_dict import load_state_dict
from tests.cases.checkpoints import PROGRAMS, Program, constant, save_old


class Hidden:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.mkdir, (self.folder,))


class HiddenInTensor(Hidden):
    def __reduce__(self) -> tuple[object, ...]:
        return (torch._tensor._rebuild_from_type_v2, (Path.mkdir, torch.Tensor, (self.folder,), {}))


def zipped(pickled: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")


def old(pickled: bytes, path: Path) -> None:
    head = (pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    path.write_bytes(b"".join((*head, pickled, pickle.dumps([], 2))))


@pytest.mark.parametrize("write", [zipped, old])
@pytest.mark.parametrize("program", [pytest.param(program, id=program.name) for program in PROGRAMS])
def test_a_program_in_a_pickle_does_not_run(tmp_path: Path, program: Program, write: object) -> None:
    evidence, file = tmp_path / "evidence", tmp_path / "weights.pth"
    pickled = program.pickled.replace(b"%s", bytes(evidence))
    assert callable(write)
    write(pickled, file)
    with suppress(WeightsError):
        read_content(file)
    InertUnpickler(io.BytesIO(pickled)).load()
    assert not evidence.exists()
    with suppress(Exception):
        pickle.loads(pickled)  # noqa: S301 - it is a real attack
    assert evidence.exists()


@pytest.mark.parametrize("save", [torch.save, save_old])
@pytest.mark.parametrize("attack", [Hidden, HiddenInTensor])
def test_the_network_beside_a_program_is_taken_and_the_program_is_not_run(
    tmp_path: Path, attack: type[Hidden], save: object
) -> None:
    state = constant(skeleton("resnet18", 3))
    evidence, file = tmp_path / "evidence", tmp_path / "weights.pth"
    assert callable(save)
    save({"model": state, "hook": attack(evidence), "more": [attack(evidence)]}, file)
    loaded, _ = load_state_dict(WeightsFile(file, "test", None, trained=True), "resnet18")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    assert not evidence.exists()
    with suppress(Exception):
        torch.load(file, weights_only=False)  # nosec B614 # shows that the attack is one
    assert evidence.exists()


def test_an_object_becomes_a_record_of_its_name_and_parts() -> None:
    loaded = InertUnpickler(io.BytesIO(b"cos\nsystem\n(Vtrue\ntR(dVa\nI1\nsb.")).load()
    assert isinstance(loaded, Inert)
    assert (loaded.origin, loaded.args, loaded.state) == ("os.system", ("true",), {"a": 1})


@pytest.mark.parametrize(
    "pickled",
    [
        pytest.param(b"Nr\xff\xff\xff\xff.", id="a place in the memo that is far away"),
        pytest.param(b"\x8e" + struct.pack("<Q", 1 << 40) + b".", id="bytes that are not there"),
        pytest.param(b"\x96" + struct.pack("<Q", 1 << 40) + b".", id="an array of bytes that are not there"),
        pytest.param(b"\x82\x01.", id="an extension"),
        pytest.param(b"\x97.", id="a buffer outside"),
        pytest.param(b"".join(b"ca\nb%d\n" % n for n in range(10_001)) + b".", id="names without end"),
        pytest.param(b"]" * 100_000 + b"a" * 99_999 + b".", id="lists in lists"),
        pytest.param(b"]q\x00h\x00a.", id="a list that holds itself"),
        pytest.param(b"}." * 2, id="an empty dict, twice"),
    ],
)
@pytest.mark.parametrize("write", [zipped, old])
def test_a_pickle_that_claims_more_than_it_is_is_refused(tmp_path: Path, pickled: bytes, write: object) -> None:
    assert callable(write)
    write(pickled, tmp_path / "weights.pth")
    with pytest.raises(WeightsError):
        read_content(tmp_path / "weights.pth")


def test_a_storage_that_ends_early_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.ones(3, 512)}, file)
    content = file.read_bytes()
    file.write_bytes(content.replace(b"K\x03M\x00\x02\x86", b"K\xffM\x00\x02\x86"))  # a shape of (255, 512)
    assert file.read_bytes() != content
    with pytest.raises(WeightsError, match="the file ends within a tensor"):
        read_content(file)


@pytest.mark.parametrize("save", [torch.save, save_old])
def test_damaged_files_are_read_or_refused(tmp_path: Path, save: object) -> None:
    file = tmp_path / "weights.pth"
    assert callable(save)
    save({"model": {"a.weight": torch.ones(2, 3), "b": torch.nn.Parameter(torch.ones(2).half())}, "epoch": 1}, file)
    content = file.read_bytes()
    generator = random.Random(18)  # noqa: S311 - not for secrets
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(generator.choice((1, 3))):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        file.write_bytes(damaged)
        with suppress(WeightsError):
            for name, tensor in read_content(file).tensors.items():
                if tensor.read is not None:
                    assert tensor.read().shape == tensor.shape, name
