"""Weights files as they come: good ones are read to the last bit, bad ones are refused with what they are."""

from __future__ import annotations

import gzip
import json
import pickle  # nosec B403 # makes the attacks
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from marserve.archive.weights.architecture import current_name, skeleton
from marserve.archive.weights.files import WeightsError, WeightsFile
from marserve.archive.weights.locate import locate_weights
from marserve.archive.weights.state_dict import load_state_dict
from marserve.handler.resnet18.network import build_network

State = dict[str, torch.Tensor]


def state_of(architecture: str, class_count: int) -> State:
    """Weights as training leaves them: every tensor of its own, counters included."""
    torch.manual_seed(0)
    state: State = build_network(architecture, class_count).state_dict()
    return {name: tensor + 1 if name.endswith("num_batches_tracked") else tensor for name, tensor in state.items()}


@pytest.fixture(scope="module")
def flowers() -> State:
    """A ResNet18 for three classes."""
    return state_of("resnet18", 3)


def file_at(path: Path) -> WeightsFile:
    return WeightsFile(path, "test", None, trained=True)


def save_old(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def without_counters(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("state.pth", torch.save),
        ("state.pt", torch.save),
        ("state.pth", save_old),
        ("state.safetensors", save_file),
        ("really-torch.safetensors", torch.save),
        ("really-safetensors.pth", save_file),
    ],
)
def test_each_format_is_read_whatever_its_name(
    tmp_path: Path, flowers: State, name: str, save: Callable[[State, Path], None]
) -> None:
    save(flowers, tmp_path / name)
    loaded, class_count = load_state_dict(file_at(tmp_path / name), "resnet18")
    assert class_count == 3
    assert list(loaded) == list(flowers)
    assert all(torch.equal(loaded[key], tensor) for key, tensor in flowers.items())
    build_network("resnet18", 3).load_state_dict(loaded)


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda state: {"state_dict": state, "epoch": 7}, id="state_dict"),
        pytest.param(lambda state: {"model": state, "optimizer": {"lr": 0.1}}, id="model"),
        pytest.param(lambda state: {"model_state_dict": state}, id="model_state_dict"),
        pytest.param(prefixed("module."), id="DataParallel"),
        pytest.param(prefixed("_orig_mod."), id="compiled"),
        pytest.param(prefixed("module._orig_mod."), id="DataParallel-compiled"),
        pytest.param(lambda state: {"state_dict": prefixed("model.")(state)}, id="Lightning"),
        pytest.param(
            lambda state: {k: torch.nn.Parameter(v, v.is_floating_point()) for k, v in state.items()}, id="parameters"
        ),
    ],
)
def test_wrappings_of_training_programs_are_taken_off(
    tmp_path: Path, flowers: State, wrap: Callable[[State], object]
) -> None:
    torch.save(wrap(flowers), tmp_path / "checkpoint.pth")
    loaded, _ = load_state_dict(file_at(tmp_path / "checkpoint.pth"), "resnet18")
    assert all(torch.equal(loaded[key], tensor) for key, tensor in flowers.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("save", [torch.save, save_file])
def test_other_precisions_become_float32(
    tmp_path: Path, flowers: State, dtype: torch.dtype, save: Callable[[State, Path], None]
) -> None:
    stored = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in flowers.items()}
    save(stored, tmp_path / "state")
    loaded, _ = load_state_dict(file_at(tmp_path / "state"), "resnet18")
    assert loaded["fc.weight"].dtype == torch.float32
    assert all(torch.equal(loaded[key], tensor.to(loaded[key].dtype)) for key, tensor in stored.items())


def test_checkpoint_without_batch_counters_is_complete_again(tmp_path: Path, flowers: State) -> None:
    torch.save(without_counters(flowers), tmp_path / "old.pth")
    loaded, _ = load_state_dict(file_at(tmp_path / "old.pth"), "resnet18")
    assert loaded.keys() == flowers.keys()
    assert loaded["bn1.num_batches_tracked"].item() == 0


@pytest.mark.parametrize(
    ("architecture", "class_count"),
    [
        ("mobilenet_v3_small", 1000),
        ("squeezenet1_1", 7),  # its head is a convolution
        ("regnet_y_400mf", 12),  # computes with tensors while it is built
        ("mnasnet0_5", 4),  # wants the version of its state dict
        ("efficientnet_lite0", 5),
    ],
)
def test_other_architectures_load_with_their_class_count(tmp_path: Path, architecture: str, class_count: int) -> None:
    state = state_of(architecture, class_count)
    save_file(state, tmp_path / "state.safetensors")
    loaded, class_count = load_state_dict(file_at(tmp_path / "state.safetensors"), architecture)
    assert class_count == class_count
    network = build_network(architecture, class_count)
    network.load_state_dict(loaded)
    assert all(torch.equal(network.state_dict()[key], tensor) for key, tensor in state.items())


@pytest.mark.parametrize(
    ("architecture", "new", "old"),
    [
        ("densenet121", r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2."),
        ("vit_b_32", r"mlp\.0\.", "mlp.linear_1."),
        ("vit_b_32", r"mlp\.3\.", "mlp.linear_2."),
    ],
)
def test_names_of_older_official_files_are_understood(architecture: str, new: str, old: str) -> None:
    names = list(skeleton(architecture, 2))
    old_names = [re.sub(new, old, name) for name in names]
    assert old_names != names
    assert [current_name(name) for name in old_names] == names


def test_official_file_with_old_names_loads(tmp_path: Path) -> None:
    state = state_of("densenet121", 2)
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): state[name] for name in state}
    torch.save(without_counters(old), tmp_path / "old.pth")
    loaded, _ = load_state_dict(file_at(tmp_path / "old.pth"), "densenet121")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in without_counters(state).items())


@pytest.mark.parametrize("keep_heads", [True, False])
def test_training_heads_do_not_matter(tmp_path: Path, keep_heads: bool) -> None:
    state = state_of("googlenet", 1000)
    state |= {name: state[name][:4].clone() for name in ("fc.weight", "fc.bias")}  # fine-tuned for four classes
    kept = {name: tensor for name, tensor in state.items() if keep_heads or not name.startswith("aux")}
    torch.save(kept, tmp_path / "state.pth")
    loaded, class_count = load_state_dict(file_at(tmp_path / "state.pth"), "googlenet")
    assert class_count == 4
    network = build_network("googlenet", 4)
    network.load_state_dict(loaded)
    assert torch.equal(network.state_dict()["fc.weight"], state["fc.weight"])


def test_packaged_weights_load() -> None:
    weights = locate_weights("efficientnet_lite0", None, report=print)
    assert load_state_dict(weights, "efficientnet_lite0")[1] == 1000


class Exploit:
    """Creates a file when it is unpickled."""

    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.evidence,))


@pytest.mark.parametrize(
    "save",
    [
        pytest.param(torch.save, id="zip"),
        pytest.param(save_old, id="old"),
        pytest.param(lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2)), id="pickle-2"),
        pytest.param(lambda content, path: path.write_bytes(pickle.dumps(content)), id="pickle"),
    ],
)
def test_code_in_a_file_is_not_run(tmp_path: Path, flowers: State, save: Callable[[object, Path], None]) -> None:
    evidence, file = tmp_path / "evidence", tmp_path / "weights.pth"
    save({"fc.bias": flowers["fc.bias"], "extra": Exploit(evidence)}, file)
    with pytest.raises(WeightsError):
        load_state_dict(file_at(file), "resnet18")
    assert not evidence.exists()
    # The file is a real attack: what loads anything runs it.
    if zipfile.is_zipfile(file) or save is save_old:
        torch.load(file, weights_only=False)  # nosec B614 # shows that the attack is one
    else:
        pickle.loads(file.read_bytes())  # noqa: S301
    assert evidence.exists()


def halved(save: Callable[[State, Path], None]) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        save({"weight": torch.ones(100, 100)}, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return make


def saved(content: object) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


def written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def packed(*names: str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "{}")

    return make


def script(path: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), path)  # type: ignore[no-untyped-call]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # TorchScript ends; its files stay
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (written(b""), "is empty"),
        (
            written(b"\xef\xbb\xbf \n<!-- hi --><HTML><TITLE>404 &mdash; not\nhere</TITLE>"),
            'is a web page titled "404 — not here": the download went wrong',
        ),
        (written(b"<?xml version='1.0'?><!DOCTYPE html><body>gone</body>"), "is a web page: the download went wrong"),
        (written(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "is a Git LFS pointer"),
        (written(b"Not found"), "is in no known format; it begins with b'Not found'"),
        (written(b"\x89HDF\r\n\x1a\n" + bytes(99)), "is an HDF5 file, as Keras writes them, and not PyTorch's"),
        (written(b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:" + bytes(99)), "is an ONNX model"),
        (written(b"\x1c\0\0\0TFL3" + bytes(99)), "is a TensorFlow Lite model"),
        (written(b"<?xml version='1.0'?>\n<net name='r' version='11'>"), "is an OpenVINO model"),
        (written(b"\x93NUMPY\x01\0" + bytes(99)), "is a single numpy array"),
        (written(b"GGUF\x03\0\0\0" + bytes(99)), "is a GGUF file"),
        (written(gzip.compress(b"weights")), "is compressed or packed: unpack it first"),
        (packed("MAR-INF/MANIFEST.json"), "is a zip archive that torch.save did not write: a TorchServe archive"),
        (packed("metadata.json", "config.json", "model.weights.h5"), "is a Keras model"),
        (packed("arr_0.npy"), "is a zip archive that torch.save did not write"),
        (script, "is a TorchScript program: save the state dict of the model that it was made from"),
        (halved(torch.save), "is truncated or damaged"),
        (halved(save_old), "is truncated, damaged or no state dict"),
        (halved(save_file), "is truncated or damaged"),
        (saved(torch.nn.Sequential()), "holds a Python object (torch.nn.modules.container.Sequential)"),
        (saved(torch.ones(3)), "holds a Tensor, not tensors by name"),
        (saved([torch.ones(3)]), "holds a list, not tensors by name"),
        (saved({"epoch": 3, "optimizer": {"lr": 0.1}}), "under 'epoch' (int), 'optimizer' (dict)"),
        (saved({}), "in an empty dict"),
        (saved({0: torch.ones(3)}), "under 0 (Tensor)"),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path: Path, make: Callable[[Path], object], found: str) -> None:
    file = tmp_path / "weights.pth"
    make(file)
    with pytest.raises(WeightsError) as refusal:
        load_state_dict(file_at(file), "resnet18")
    assert f"The weights file {file} " in str(refusal.value)
    assert found in str(refusal.value)
    assert "Expected: a state dict written by torch.save(model.state_dict(), file)" in str(refusal.value)
    assert "weights_only" not in str(refusal.value)  # nobody is told how to load it all the same


def without(prefix: str) -> Callable[[State], State]:
    return lambda state: {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}


def with_changed(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[State], State]:
    return lambda state: state | {name: change(state[name])}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (with_changed("fc.weight", lambda t: t[:, :9]), "fc.weight is (3, 9) instead of (3, 512)"),
        (with_changed("fc.bias", lambda t: t[:2]), "fc.bias is (2,) instead of (3,)"),
        (with_changed("fc.weight", lambda t: t[0, 0]), "fc.weight is () instead of (3, 512)"),
        (with_changed("fc.weight", lambda t: t[:0]), "has no classes"),
        (lambda state: state | {"layer1.n\x1b[2J": state["fc.bias"]}, "has the unknown layer1.n?[2J."),
        (without("fc."), "it lacks fc.weight, fc.bias."),
        (
            lambda state: {f"backbone.{name}".replace("conv", "convolution"): state[name] for name in state},
            "lacks conv1.weight, layer1.0.conv1.weight, layer1.0.conv2.weight and 14 more and has the unknown "
            "convolution1.weight, layer1.0.convolution1.weight, layer1.0.convolution2.weight and 14 more",
        ),
        (with_changed("bn1.bias", lambda t: t * torch.nan), "NaN or infinite values in bn1.bias"),
        (with_changed("bn1.weight", lambda t: t.double() * 1e300), "NaN or infinite values in bn1.weight"),
        (with_changed("fc.weight", lambda t: t.to(torch.int8)), "unusable kind (torch.int8) in fc.weight"),
        (with_changed("fc.weight", torch.Tensor.to_sparse), "(torch.sparse_coo on cpu) in fc.weight"),
        (with_changed("bn1.bias", lambda t: t.to("meta")), "(torch.strided on meta) in bn1.bias"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_what_differs(
    tmp_path: Path, flowers: State, change: Callable[[State], State], found: str
) -> None:
    torch.save(change(flowers), tmp_path / "weights.pth")
    with pytest.raises(WeightsError) as refusal:
        load_state_dict(file_at(tmp_path / "weights.pth"), "resnet18")
    assert found in str(refusal.value)


def test_weights_of_another_architecture_are_refused(tmp_path: Path, flowers: State) -> None:
    torch.save(flowers, tmp_path / "weights.pth")
    found = r"does not fit resnet50: it lacks .* and \d+ more.*Expected: weights of resnet50"
    with pytest.raises(WeightsError, match=found):
        load_state_dict(file_at(tmp_path / "weights.pth"), "resnet50")


def folder_of(*names: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        for name in names:
            (path / name).touch()

    return make


def missing(path: Path) -> None:
    pass


def loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (missing, "cannot be read (No such file or directory)"),
        (Path.mkdir, "is a directory without weights. Expected: a folder with model.safetensors, or a file"),
        (folder_of("a.pth", "b.ckpt"), "is a directory with several: a.pth, b.ckpt. Expected: one of these files"),
        (folder_of(".metadata", "__0_0.distcp"), "is a sharded checkpoint of torch.distributed"),
        (folder_of("saved_model.pb"), "is a TensorFlow model"),
        (loop, "cannot be read (Too many levels of symbolic links)"),
    ],
)
def test_path_without_a_readable_file_is_refused_when_it_is_chosen(
    tmp_path: Path, make: Callable[[Path], None], found: str
) -> None:
    make(tmp_path / "weights.pth")
    with pytest.raises(WeightsError) as refusal:
        locate_weights("resnet18", str(tmp_path / "weights.pth"), report=print)
    assert found in str(refusal.value)


def test_a_folder_stands_for_the_weights_in_it(tmp_path: Path, flowers: State) -> None:
    for other in ("optimizer.pt", "scheduler.pt", "training_args.bin", "config.json"):  # of transformers' Trainer
        (tmp_path / other).write_bytes(b"not to be read")
    save_file(flowers, tmp_path / "model.safetensors")
    found = locate_weights("resnet18", str(tmp_path), report=print)
    assert (found.path, found.source) == (tmp_path / "model.safetensors", "file model.safetensors")
    assert torch.equal(load_state_dict(found, "resnet18")[0]["fc.bias"], flowers["fc.bias"])


def test_shards_are_read_by_their_index(tmp_path: Path, flowers: State) -> None:
    names = {name: f"model-{1 if name.startswith('layer') else 2}.safetensors" for name in flowers}
    for shard in set(names.values()):
        save_file({name: flowers[name] for name in flowers if names[name] == shard}, tmp_path / shard)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    found = locate_weights("resnet18", str(tmp_path), report=print)
    loaded, _ = load_state_dict(found, "resnet18")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in flowers.items())
    save_file({"fc.bias": flowers["fc.bias"] + 1}, tmp_path / "model-2.safetensors")
    assert locate_weights("resnet18", str(index), report=print).sha256 != found.sha256
    with pytest.raises(WeightsError, match=r"names \w+.*, and no file beside it holds that"):
        load_state_dict(found, "resnet18")
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model-2\.safetensors cannot be read"):
        load_state_dict(found, "resnet18")
