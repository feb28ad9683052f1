"""Print what is installed here as a software bill of materials: CycloneDX 1.6 in JSON.

It has Python's packages and the libraries in their wheels, every library inside TorchServe's jar, the Java that runs
it, and for each known hole of that jar why it is not reached (VEX): of what is installed, so that where only the web
service is, only of that. An image has its own bill in /usr/share/sbom/marserve.cdx.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from marserve.paths import CLONE, expanded
from marserve.system.files import replace_text
from marserve.terminal import say

#: An installed package may have any of the services.
NEEDS = "serve" if CLONE else "runtime"
EPILOG = """examples:
  marserve sbom > marserve.cdx.json
  marserve sbom --output marserve.cdx.json
      the file appears when it is whole
  marserve sbom --system
      the packages of Debian as well: for an image, which consists of just what it needs

SOURCE_DATE_EPOCH sets its time, so that the same installation gives the same file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="FILE", type=expanded, help="write it there (default: standard output)")
    parser.add_argument(
        "--system", action="store_true", help="also name the packages of the operating system, as dpkg knows them"
    )


def run(options: argparse.Namespace) -> int:
    from marserve.sbom.document import bill_of_materials

    output: Path | None = options.output
    text = json.dumps(bill_of_materials(system=options.system), indent=2) + "\n"
    if output is None:
        print(text, end="")
    else:
        replace_text(output, text)
        say(f"Written: {output}")
    return 0
