"""Checkpoints as training programs leave them, of a ResNet18 for three classes, and files that are none.

Every input is made here; the layouts were compared with what the tools themselves write.
"""

from __future__ import annotations

import argparse
import collections
import enum
import functools
import pathlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file

from marserve.archive.weights.architecture import skeleton

State = dict[str, torch.Tensor]


class Taken(NamedTuple):
    """A file whose network is taken as it was saved, with what is told about it."""

    name: str
    make: Callable[[State], Any]
    #: Lines that are told, or beginnings of them; no others are.
    told: tuple[str, ...] = ()
    key: str | None = None
    save: Callable[[Any, Path], object] = torch.save


class Refused(NamedTuple):
    """A file that is refused with these words."""

    name: str
    make: Callable[[State], Any]
    words: str
    key: str | None = None
    save: Callable[[Any, Path], object] = torch.save


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def constant(shapes: State) -> State:
    """A state dict whose tensors are each of one number, its index, which makes the file small."""
    return {
        name: torch.tensor(index, dtype=tensor.dtype).expand(tensor.shape)
        for index, (name, tensor) in enumerate(shapes.items())
    }


def other(state: State) -> State:
    """Another network of the same shapes."""
    return {name: (tensor[(0,) * tensor.dim()] + 1).expand(tensor.shape) for name, tensor in state.items()}


def without(prefix: str, state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}


def wrapped(key: str) -> Callable[[State], dict[str, Any]]:
    return lambda state: {key: state, "epoch": 7}


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: under(prefix, state)


def headed(place: str) -> Callable[[State], State]:
    return lambda state: with_head(place, state)


def with_head(place: str, state: State) -> State:
    """The last layer under another name."""
    return without("fc.", state) | {f"{place}.weight": state["fc.weight"], f"{place}.bias": state["fc.bias"]}


def save_tensors(content: State, path: Path) -> None:
    save_file({name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in content.items()}, path)


def save_old(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


class Precision(enum.Enum):
    HALF = 16


def lightning(state: State, **more: Any) -> dict[str, Any]:
    """What Lightning's ModelCheckpoint writes for a module that keeps the network as ``model``."""
    return {
        "epoch": 4,
        "global_step": 300,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": collections.OrderedDict(under("model.", state)) | more,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 5}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": torch.tensor(0.25)}},
        "optimizer_states": [adam(state)],
        "lr_schedulers": [{"base_lrs": [0.1], "last_epoch": 4}],
        "hparams_name": "kwargs",
        "hyper_parameters": collections.defaultdict(list, lr=0.1, root=pathlib.PurePosixPath("data")),
    }


def adam(state: State) -> dict[str, Any]:
    kept = {i: {"step": torch.tensor(9.0), "exp_avg": torch.zeros_like(t)} for i, t in enumerate(state.values())}
    return {"state": kept, "param_groups": [{"lr": np.float64(0.1), "params": list(kept)}]}


def torchvision_reference(state: State) -> dict[str, Any]:
    """What references/classification/train.py of torchvision writes, without its moving average."""
    return {
        "model": state,
        "optimizer": adam(state),
        "lr_scheduler": {"base_lrs": [0.5], "last_epoch": 3, "_get_lr_called_within_step": False},
        "epoch": 3,
        "args": argparse.Namespace(model="resnet18", lr=0.5, device="cuda", output_dir=pathlib.PurePosixPath("out")),
        "scaler": {"scale": 65536.0},
    }


_HUGGING_FACE = (
    (r"^conv1\.", "embedder.embedder.convolution."),
    (r"^bn1\.", "embedder.embedder.normalization."),
    (r"^layer(\d)\.(\d)\.", r"encoder.stages.<\1>.layers.\2."),
    (r"\.conv(\d)\.", r".layer.<\1>.convolution."),
    (r"\.bn(\d)\.", r".layer.<\1>.normalization."),
    (r"\.downsample\.0\.", ".shortcut.convolution."),
    (r"\.downsample\.1\.", ".shortcut.normalization."),
)


def hugging_face(state: State) -> State:
    """The names of transformers' ResNetForImageClassification."""

    def renamed(name: str) -> str:
        if name.startswith("fc."):
            return name.replace("fc.", "classifier.1.")
        for pattern, replacement in _HUGGING_FACE:
            name = re.sub(pattern, replacement, name)
        return "resnet." + re.sub(r"<(\d)>", lambda digit: str(int(digit[1]) - 1), name)

    return {renamed(name): tensor for name, tensor in state.items()}


_CHILDREN = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}


def numbered_children(state: State) -> State:
    """torch.nn.Sequential(*list(resnet18.children())[:-1])."""
    return {
        f"{_CHILDREN[name.partition('.')[0]]}.{name.partition('.')[2]}": tensor
        for name, tensor in without("fc.", state).items()
    }


def whole_module(state: State) -> torch.nn.Module:
    """The network itself instead of its state dict."""
    import torchvision

    network: torch.nn.Module = torchvision.models.resnet18(num_classes=3)
    network.load_state_dict(state)
    return network


def parallel(state: State) -> torch.nn.Module:
    return torch.nn.DataParallel(whole_module(state))


def another(name: str) -> Callable[[State], State]:
    """The state dict of another architecture."""

    def make(_: State) -> State:
        return constant(skeleton(name, 3))

    return make


def counted_by_thop(state: State) -> State:
    layers = {name.rpartition(".")[0] for name in state}
    ones = torch.ones(1, dtype=torch.float64)
    return state | {f"{layer}.{count}": ones for layer in layers for count in ("total_ops", "total_params")}


def as_one_storage(state: State) -> State:
    """All parameters as views of one long vector, as optimizers of flat parameters leave them."""
    names = [name for name, tensor in state.items() if tensor.is_floating_point()]
    flat = torch.cat([state[name].flatten() for name in names])
    views = torch.split(flat, [state[name].numel() for name in names])
    return state | {name: view.view(state[name].shape) for name, view in zip(names, views, strict=True)}


TAKEN = (
    *(
        Taken(f"wrapper {key}", wrapped(key), (f"Taken: 122 tensors under {key}.", "Ignored: epoch."))
        for key in ("state_dict", "model", "model_state_dict", "net", "ema", "teacher", "network", "weights_v2")
    ),
    Taken(
        "nested wrappers",
        lambda state: {"checkpoint": {"model": {"state": state}}},
        ("Taken: 122 tensors under checkpoint.model.state.",),
    ),
    Taken("list around it", lambda state: [state], ("Taken: 122 tensors under 0.",)),
    *(
        Taken(f"prefix {prefix}", prefixed(prefix), (f"Taken: 122 tensors under {prefix[:-1]}.",))
        for prefix in ("module.", "model.", "net.", "backbone.", "encoder.", "module.model.backbone.", "my_resnet.")
    ),
    Taken("compiled", lambda state: under("_orig_mod.", state)),
    Taken("DDP around compile", lambda state: under("module._orig_mod.", state), ("Taken: 122 tensors under module.",)),
    Taken(
        "one block compiled",
        lambda state: {name.replace("layer3.", "layer3._orig_mod."): t for name, t in state.items()},
    ),
    Taken(
        "FSDP within",
        lambda state: {name.replace("layer2.", "layer2._fsdp_wrapped_module."): t for name, t in state.items()},
    ),
    Taken(
        "AveragedModel",
        lambda state: {"n_averaged": torch.tensor(5), **under("module.", state)},
        ("Taken: 122 tensors under module.", "Ignored: n_averaged."),
    ),
    Taken(
        "Lightning",
        lightning,
        ("Taken: 122 tensors under state_dict.model.", "Ignored: callbacks, optimizer_states (244 tensors), epoch, "),
    ),
    Taken(
        "Lightning with losses and metrics",
        lambda state: lightning(
            state,
            **{
                "criterion.weight": torch.ones(3),
                "loss_fn.pos_weight": torch.ones(3),
                "train_acc.tp": torch.zeros(3, dtype=torch.int64),
                "confusion.confmat": torch.zeros(3, 3, dtype=torch.int64),
                "center_loss.centers": torch.ones(3, 512),
            },
        ),
        (
            "Taken: 122 tensors under state_dict.model.",
            "Ignored: state_dict.criterion, state_dict.loss_fn, state_dict.train_acc, state_dict.confusion, "
            "state_dict.center_loss",
        ),
    ),
    Taken(
        "torchvision's reference",
        torchvision_reference,
        ("Taken: 122 tensors under model.", "Ignored: optimizer (244 tensors), lr_scheduler, epoch, args, scaler."),
    ),
    Taken(
        "harmless Python objects beside it",
        lambda state: {
            "model": state,
            "best": np.float32(0.9),
            "curve": np.arange(4.0),
            "precision": Precision.HALF,
            "when": pathlib.PurePosixPath("runs/1"),
            "make": functools.partial(torch.nn.Linear, 3),
            "counts": collections.Counter(a=1),
            "tags": {"a", "b"},
            "optimizer": torch.optim.SGD([torch.nn.Parameter(torch.ones(2, 2))], lr=0.1),
            "dtype": torch.float16,
            "device": torch.device("cuda"),
            "size": torch.Size([1, 2]),
        },
        ("Taken: 122 tensors under model.", "Ignored: optimizer, best, curve, precision, when"),
    ),
    Taken(
        "optimizer's state by name",
        lambda state: {
            "model": state,
            "optimizer": {"state": {name: {"exp_avg": tensor} for name, tensor in state.items()}},
        },
        ("Taken: 122 tensors under model.", "Ignored: optimizer (122 tensors)."),
    ),
    Taken("counted by thop", counted_by_thop, ("Ignored: total_",)),
    Taken(
        "head in Sequential(Dropout, Linear)",
        lambda state: with_head("fc.1", state),
        ("Last layer: fc.1, read as fc.",),
    ),
    *(
        Taken(f"head called {place}", headed(place), (f"Last layer: {place}, read as fc.",))
        for place in ("classifier", "head", "last_linear", "classifier.0", "head.fc")
    ),
    Taken(
        "backbone and head",
        lambda state: {
            "state_dict": under("net.backbone.", without("fc.", state))
            | {"net.head.weight": state["fc.weight"], "net.head.bias": state["fc.bias"]}
        },
        ("Taken: 122 tensors under state_dict.net.backbone.", "Last layer: state_dict.net.head, read as fc."),
    ),
    Taken(
        "backbone and head in a dict of their own",
        lambda state: {
            "encoder": without("fc.", state),
            "classifier": {"weight": state["fc.weight"], "bias": state["fc.bias"]},
        },
        ("Taken: 122 tensors under encoder.", "Last layer: classifier, read as fc."),
    ),
    Taken(
        "numbered children",
        lambda state: with_head(
            "head", under("features.", numbered_children(state)) | {n: state[n] for n in ("fc.weight", "fc.bias")}
        ),
        ("Taken: 122 tensors under features.", "Names: those of numbered children", "Last layer: head, read as fc."),
    ),
    Taken(
        "Hugging Face's names",
        hugging_face,
        ("Taken: 122 tensors under resnet.", "Names: Hugging Face's", "Last layer: classifier.1, read as fc."),
    ),
    Taken(
        "Hugging Face's names in safetensors",
        hugging_face,
        ("Taken: 122 tensors under resnet.", "Names: Hugging Face's", "Last layer: classifier.1, read as fc."),
        save=save_tensors,
    ),
    Taken(
        "Hugging Face's names in Lightning",
        lambda state: lightning(hugging_face(state)),
        (
            "Taken: 122 tensors under state_dict.model.resnet.",
            "Names: Hugging Face's",
            "Last layer: state_dict.model.classifier.1, read as fc.",
            "Ignored: ",
        ),
    ),
    Taken(
        "prefix in safetensors",
        lambda state: under("model.module.", state),
        ("Taken: 122 tensors under model.module.",),
        save=save_tensors,
    ),
    Taken(
        "student of another architecture's teacher",
        lambda state: {"student": state, "teacher": another("resnet50")(state)},
        ("Taken: 122 tensors under student.", "Ignored: teacher (320 tensors)."),
    ),
    Taken(
        "the same network twice",
        lambda state: {"backbone": state, "net": {name: tensor.clone() for name, tensor in state.items()}},
        ("Taken: 122 tensors under backbone.", "Ignored: net (122 tensors)."),
    ),
    Taken(
        "teacher, chosen",
        lambda state: {"student": other(state), "teacher": state},
        ("Taken: 122 tensors under teacher.", "Ignored: student (122 tensors)."),
        key="teacher",
    ),
    Taken(
        "moving average, chosen by its last name",
        lambda state: {"state_dict": under("model.", other(state)) | under("ema_model.", state)},
        ("Taken: 122 tensors under state_dict.ema_model.", "Ignored: state_dict.model (122 tensors)."),
        key="ema_model",
    ),
    Taken(
        "on top, chosen", lambda state: state | under("ema.", other(state)), ("Ignored: ema (122 tensors).",), key="."
    ),
    Taken(
        "projector left out by choice",
        lambda state: {"encoder": state, "projector": {"0.weight": torch.ones(128, 512)}},
        ("Taken: 122 tensors under encoder.", "Ignored: projector."),
        key="encoder",
    ),
    Taken("pickled module", whole_module),
    Taken("pickled DataParallel", parallel, ("Taken: 122 tensors under module.",)),
    Taken(
        "pickled module in a checkpoint",
        lambda state: {"net": whole_module(state), "acc": 93.1},
        ("Taken: 122 tensors under net.", "Ignored: acc."),
    ),
    Taken(
        "old format with objects",
        torchvision_reference,
        ("Taken: 122 tensors under model.", "Ignored: optimizer (244 tensors)"),
        save=save_old,
    ),
    Taken("pickled module in the old format", whole_module, save=save_old),
    Taken("one storage", as_one_storage),
    Taken(
        "another architecture with the same names and shapes",
        lambda state: {"arch": "resnetblur18", "state_dict": state},
        ("Taken: 122 tensors under state_dict.", "It calls itself resnetblur18: ", "Ignored: arch."),
    ),
    Taken(
        "the architecture with timm's tag",
        lambda state: {"args": argparse.Namespace(model="resnet18.a1_in1k"), "state_dict": state},
        ("Taken: 122 tensors under state_dict.", "Ignored: args."),
    ),
    Taken("a state dict with its metadata", lambda state: whole_module(state).state_dict()),
    Taken(
        "parameters", lambda state: {name: torch.nn.Parameter(t, t.is_floating_point()) for name, t in state.items()}
    ),
    Taken(
        "half precision within",
        lambda state: {"model": {name: t.half() if t.is_floating_point() else t for name, t in state.items()}},
        ("Taken: 122 tensors under model, stored as float16.",),
    ),
)


def variant(**changes: torch.Tensor) -> Callable[[State], State]:
    return lambda state: state | {name.replace("__", "."): tensor for name, tensor in changes.items()}


def deep_stem(state: State) -> State:
    """timm's resnet18d."""
    stem = {f"conv1.{i}.weight": torch.ones(32, 3 if i == 0 else 32, 3, 3) for i in (0, 3)}
    return stem | without("conv1.", state)


REFUSED = (
    Refused(
        "student and teacher",
        lambda state: {"student": state, "teacher": other(state)},
        "holds 2 networks that fit resnet18: student, teacher. Expected: --weights-key with the one of these to take",
    ),
    Refused(
        "model and moving average",
        lambda state: (
            torchvision_reference(state)
            | {"model_ema": {"n_averaged": torch.tensor(2), **under("module.", other(state))}}
        ),
        "holds 2 networks that fit resnet18: model, model_ema.module.",
    ),
    Refused(
        "network and average on top",
        lambda state: state | under("ema.", other(state)),
        "holds 2 networks that fit resnet18: ., ema.",
    ),
    Refused(
        "a key that is not there",
        lambda state: {"student": state, "teacher": other(state)},
        "holds no resnet18 under 'pupil'. Expected: --weights-key with one of student, teacher",
        key="pupil",
    ),
    Refused(
        "a part of a key",
        lambda state: {"student": state, "teacher": other(state)},
        "holds no resnet18 under 'each'",
        key="each",
    ),
    Refused(
        "head of two layers",
        lambda state: (
            without("fc.", state)
            | {
                "fc.0.weight": torch.ones(64, 512),
                "fc.0.bias": torch.ones(64),
                "fc.3.weight": torch.ones(3, 64),
                "fc.3.bias": torch.ones(3),
            }
        ),
        "has a last part of more than one layer: fc.0, fc.3.weight, fc.3.bias",
    ),
    Refused(
        "normalization before the head",
        lambda state: with_head("head.1", state) | {"head.0.weight": torch.ones(512), "head.0.bias": torch.ones(512)},
        "has a last part of more than one layer: head.1, head.0.weight, head.0.bias",
    ),
    Refused(
        "two heads",
        lambda state: with_head("color", state) | {"shape.weight": torch.ones(5, 512), "shape.bias": torch.ones(5)},
        "has 2 layers that may be the last one of resnet18: color, shape",
    ),
    Refused("no head", lambda state: without("fc.", state), "it lacks fc.weight, fc.bias"),
    Refused(
        "a classifier behind 1000 classes",
        lambda state: (
            under("backbone.", state) | {"classifier.weight": torch.ones(4, 3), "classifier.bias": torch.ones(4)}
        ),
        "has layers beside its resnet18, and does not tell what they compute: classifier.weight. "
        "Expected: weights of resnet18 alone; --weights-key backbone takes what is there",
    ),
    Refused(
        "a projector beside it",
        lambda state: {"encoder": state, "projector": {"0.weight": torch.ones(128, 512)}},
        "has layers beside its resnet18, and does not tell what they compute: projector.0.weight",
    ),
    Refused(
        "a first layer before it",
        lambda state: under("net.", state) | {"gray.weight": torch.ones(3, 1, 1, 1)},
        "has layers beside its resnet18, and does not tell what they compute: gray.weight",
    ),
    Refused(
        "attention in its blocks",
        variant(layer1__0__se__fc1__weight=torch.ones(4, 64)),
        "it has the unknown layer1.0.se.fc1.weight; it is a ResNet with squeeze-and-excitation",
    ),
    Refused("a scale in its blocks", variant(layer1__0__gain=torch.ones(())), "it has the unknown layer1.0.gain"),
    Refused(
        "a deep stem",
        deep_stem,
        "it lacks conv1.weight and has the unknown conv1.0.weight, conv1.3.weight; "
        "it is a ResNet whose first layer is three",
    ),
    Refused(
        "a stem for small pictures",
        variant(conv1__weight=torch.ones(64, 3, 3, 3)),
        "conv1.weight is (64, 3, 3, 3) instead of (64, 3, 7, 7)",
    ),
    Refused(
        "one channel",
        variant(conv1__weight=torch.ones(64, 1, 7, 7)),
        "conv1.weight is (64, 1, 7, 7) instead of (64, 3, 7, 7)",
    ),
    Refused(
        "resnet34",
        another("resnet34"),
        "it fits resnet34. Expected: weights of resnet18, or marserve build --arch resnet34",
    ),
    Refused(
        "resnet50",
        another("resnet50"),
        "it fits resnet50. Expected: weights of resnet18, or marserve build --arch resnet50",
    ),
    Refused("resnet50 in Lightning", lambda state: lightning(another("resnet50")(state)), "it fits resnet50"),
    Refused("mobilenet", another("mobilenet_v3_small"), "it fits mobilenet_v3_small"),
)


class Program(NamedTuple):
    """A pickle that makes the folder ``%s`` when it is unpickled."""

    name: str
    pickled: bytes


PROGRAMS = (
    Program("called", b"cos\nmkdir\n(V%s\ntR."),
    Program("called by a stacked name", b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93(V%s\ntR."),
    Program("instance", b"(V%s\nios\nmkdir\n."),
    Program("object", b"(cos\nmkdir\nV%s\no."),
    Program("evaluated", b"cbuiltins\neval\n(V__import__('os').mkdir('%s')\ntR."),
    Program("an attribute of a module", b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(Vos\ntRVmkdir\ntR(V%s\ntR."),
    Program("by a state", b"cfunctools\npartial\n(cos\nmkdir\ntR(cos\nmkdir\n(V%s\nt}Ntb(tR."),
    Program("in a key", b"}(cos\nmkdir\n(V%s\ntRI1\nu."),
    Program(
        "in an ordered dict",
        b"ccollections\nOrderedDict\n((lcbuiltins\nlist\n(cbuiltins\nmap\n(cos\nmkdir\n(lV%s\natRtRatR.",
    ),
    Program(
        "as a subclass of Tensor",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nmkdir\nctorch\nTensor\n(V%s\nt}tR.",
    ),
)
