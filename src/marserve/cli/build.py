"""Build a TorchServe archive: weights and labels in, a checked .mar out.

Does nothing when the archive at hand was made from the same weights, labels, settings and code.
"""

from __future__ import annotations

import argparse
import json

from marserve.arguments import UsageError, add_archive_options, add_quiet, did_you_mean
from marserve.errors import MarserveError
from marserve.paths import expanded
from marserve.setup.environment import ensure
from marserve.terminal import complain

NEEDS = "serve"
EPILOG = """examples:
  marserve build
      ResNet18 with the official ImageNet weights: model_store/resnet18.mar
  marserve build --weights finetuned.pth --labels names.txt --model-name flowers --version 2.0
      your own fine-tuned ResNet18; names.txt has one class name a line
  marserve build --weights finetuned.pth --labels data/train --model-name flowers
      the class names are those of the training folder's subfolders, as torchvision's ImageFolder numbers them
  marserve build --arch resnet50 --model-name resnet50 --precision f32
      another architecture of torchvision's
  marserve build --precision int8 --calibration photographs
      int8, fitted to photographs; those whose names tell the class, such as tabby/1.jpg, also show what it costs
  marserve build --arch efficientnet_lite0 --model-name efficientnet_lite0
      the demonstration model, whose ImageNet weights come as a package

exit status: 0 built, or up to date; 1 it failed, and nothing was written; 2 wrong arguments"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--arch", dest="architecture", metavar="NAME", default="resnet18",
        help="any torchvision classification architecture, or efficientnet_lite0 (default: resnet18)",
    )  # fmt: skip
    parser.add_argument("--list-archs", action="store_true", help="list the architectures that --arch takes, and end")
    add_archive_options(parser)
    parser.add_argument(
        "--accept-accuracy-loss", action="store_true",
        help="keep int8 even where it changes more than 3 %% of the first classes or loses more than one point top-1",
    )  # fmt: skip
    parser.add_argument(
        "--model-name", default="resnet18", help="name of the model and of its file (default: resnet18)"
    )
    parser.add_argument("--version", default="1.0", help="version that TorchServe shows (default: 1.0)")
    parser.add_argument("--output", metavar="DIR", type=expanded, help="where the archive goes (default: model_store/)")
    parser.add_argument("--force", action="store_true", help="build even if the archive is up to date")
    parser.add_argument("--check", action="store_true", help="say whether it would be built, and build nothing")
    add_quiet(parser, "say nothing of the steps")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(options: argparse.Namespace) -> int:
    if (
        options.calibration is not None and not options.check
    ):  # without pictures int8 is only found up to date, which needs nothing more
        ensure("int8")
    from marserve.archive.build import BuiltArchive, build, check_build
    from marserve.archive.package import BuildOptions
    from marserve.archive.weights.locate import architectures
    from marserve.handler.resnet18.errors import ConfigurationError

    if options.list_archs:
        print("\n".join(architectures()))
        return 0
    if options.architecture not in architectures():
        near = did_you_mean(options.architecture, architectures()) or "; --list-archs lists all"
        raise UsageError(f"--arch: there is no {options.architecture!r}{near}")
    given = {name: value for name, value in vars(options).items() if value is not None}
    force, check, as_json, quiet, _ = (given.pop(name) for name in ("force", "check", "json", "quiet", "list_archs"))
    if "weights" in given:
        given["weights"] = str(given["weights"])
    try:
        build_options = BuildOptions(**given)
    except ConfigurationError as exc:
        raise UsageError(str(exc)) from exc
    try:
        built = (check_build if check else build)(
            build_options, force=force, report=(lambda _: None) if quiet else complain
        )
    except ConfigurationError as exc:
        raise MarserveError(str(exc)) from exc
    path = build_options.archive
    if isinstance(built, BuiltArchive):
        rebuilt, description = built.rebuilt, built.description.model_dump()
        text = f"{path} ({path.stat().st_size / 1e6:.0f} MB): {'built and checked' if rebuilt else 'up to date'}"
    else:
        rebuilt, text = True, f"{path}: would be built, weights: {built.source}"
        description = {"model": options.model_name, "version": options.version, "weights": built.model_dump()}
    print(json.dumps({"path": str(path), "rebuilt": rebuilt, "description": description}) if as_json else text)
    return 0
