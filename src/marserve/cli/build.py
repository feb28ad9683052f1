"""Build a TorchServe archive: weights and labels in, a checked .mar out.

Does nothing when the archive at hand was made from the same weights, labels, settings and code.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marserve.setup.environment import continue_in_environment

EXAMPLES = """examples:
  marserve build
      ResNet18 with the official ImageNet weights: model_store/resnet18.mar
  marserve build --weights finetuned.pth --labels names.txt --model-name flowers --version 2.0
      your own fine-tuned ResNet18; names.txt has one class name a line
  marserve build --arch resnet50 --model-name resnet50 --precision f32
      another architecture of torchvision's
  marserve build --precision int8 --calibration photographs
      int8, fitted to photographs; those whose names tell the class, such as tabby/1.jpg, also tell what it costs
  marserve build --arch efficientnet_lite0 --model-name efficientnet_lite0
      the demonstration model, whose ImageNet weights come as a package
"""


def main(command: str, arguments: Sequence[str]) -> int:
    """Build one archive."""
    options, force, as_json = _parse(arguments)
    continue_in_environment("serve", command, arguments)
    from marserve.archive.build import ArchiveError, build
    from marserve.archive.int8 import AccuracyError
    from marserve.archive.options import BuildOptions
    from marserve.archive.package import PackagingError
    from marserve.handler.resnet18.errors import ConfigurationError

    try:
        built = build(BuildOptions(**options), force=force, report=_report)
    except (ConfigurationError, ArchiveError, AccuracyError, PackagingError) as exc:
        print(f"marserve build: {exc}", file=sys.stderr)
        return 1
    if as_json:
        description = built.description.model_dump()
        print(json.dumps({"path": str(built.path), "rebuilt": built.rebuilt, "description": description}))
    else:
        size = built.path.stat().st_size / 1e6
        print(f"{built.path} ({size:.0f} MB): {'built and checked' if built.rebuilt else 'up to date'}")
    return 0


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parse(given: Sequence[str]) -> tuple[dict[str, Any], bool, bool]:
    parser = argparse.ArgumentParser(
        prog="marserve build",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--arch", dest="architecture", default="resnet18",
        help="any torchvision classification architecture, or efficientnet_lite0 (default: resnet18)",
    )  # fmt: skip
    parser.add_argument(
        "--weights", metavar="FILE",
        help="state dict (.pth, .pt, .safetensors), or 'untrained' for seeded random weights "
        "(default: the official ImageNet weights, from the torch hub cache or downloaded; else untrained)",
    )  # fmt: skip
    parser.add_argument(
        "--labels", metavar="FILE", type=Path,
        help="class names in class order: text, one a line, or JSON (default: ImageNet's, config/index_to_name.json)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=["auto", "f32", "bf16", "int8"],
        help="what the network computes in; auto is bf16 where the processor has it (default: as in model-config.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--calibration", metavar="DIR", type=Path,
        help="100 or more pictures like those to be classified: int8 is fitted to half of them and judged by the "
        "others; needed for int8 unless the archive at hand was built with them",
    )  # fmt: skip
    parser.add_argument(
        "--accept-accuracy-loss", action="store_true",
        help="keep int8 even where it changes more than 3 %% of the first classes or loses more than one point top-1",
    )  # fmt: skip
    parser.add_argument(
        "--model-name", default="resnet18", help="name of the model and of its file (default: resnet18)"
    )
    parser.add_argument("--version", default="1.0", help="version that TorchServe shows (default: 1.0)")
    parser.add_argument("--output", metavar="DIR", type=Path, help="where the archive goes (default: model_store/)")
    parser.add_argument("--force", action="store_true", help="build even if the archive is up to date")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    arguments = vars(parser.parse_args(given))
    force, as_json = arguments.pop("force"), arguments.pop("json")
    return {name: value for name, value in arguments.items() if value is not None}, force, as_json
