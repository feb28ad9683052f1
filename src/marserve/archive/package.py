"""A directory of files becomes a .mar whose bytes depend on those files alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

#: The earliest moment that a zip file can record; every entry gets it.
EPOCH = (1980, 1, 1, 0, 0, 0)
CREATED_ON = "01/01/1980 00:00:00"
MANIFEST = "MAR-INF/MANIFEST.json"


class PackagingError(Exception):
    """torch-model-archiver failed; carries what it printed."""


def package(contents: Path, handler: Path, config: Path, model_name: str, version: str, destination: Path) -> None:
    """Pack the files in ``contents`` with ``handler`` and ``config`` into the archive file ``destination``.

    torch-model-archiver does it, in a private temporary directory (it deletes and refills ``<tmp>/<model_name>``) and
    with relative names (it splits paths at commas). Its result is then written again in a fixed order without dates.
    """
    with tempfile.TemporaryDirectory(prefix="mar-") as scratch:
        command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", model_name]
        command += ["--version", version, "--handler", os.path.relpath(handler, contents.parent)]
        command += ["--extra-files", contents.name, "--config-file", os.path.relpath(config, contents.parent)]
        command += ["--export-path", scratch, "--archive-format", "zip-store"]
        environment = {**os.environ, "TMPDIR": scratch}
        done = subprocess.run(
            command, cwd=contents.parent, env=environment, capture_output=True, text=True, check=False
        )
        packed = Path(scratch, f"{model_name}.mar")
        if done.returncode or not packed.exists():
            raise PackagingError(f"torch-model-archiver failed: {(done.stderr or done.stdout).strip()}")
        _write_reproducibly(packed, destination)


def _write_reproducibly(packed: Path, destination: Path) -> None:
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(destination, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == MANIFEST:
                manifest = json.loads(content)
                manifest["createdOn"] = CREATED_ON  # TorchServe warns where it is missing
                content = json.dumps(manifest, indent=2, sort_keys=True).encode()
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            target.writestr(entry, content)
