"""What tests of several folders share besides fixtures."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
#: The example picture, 451 x 300.
CAT = REPOSITORY / "examples" / "cat.jpg"
#: Labelled photographs that are not part of the project: @pytest.mark.needs("photographs").
PHOTOS = REPOSITORY.parent / "shared" / "photos"
#: When requests came to services in production, no part of it either: @pytest.mark.needs("recordings").
TRACES = REPOSITORY.parent / "shared" / "traces"
#: Definitions of custom resources, as KEDA, KServe and KubeRay install them.
CRDS = REPOSITORY.parent / "shared" / "schemas"


def report(line: str) -> None:
    """Show a build's steps where pytest shows output: beside a failure."""
    print(line, file=sys.stderr)


def unpack(archive: Path, directory: Path) -> Path:
    """``directory`` with the content of ``archive``, as TorchServe hands it to a worker."""
    with zipfile.ZipFile(archive) as mar:
        mar.extractall(directory)
    return directory
