"""Makes the other archive that the suite upgrades to: ``python -m tests.deploy.cluster.second_archive ARCHIVE FOLDER``.

It is ARCHIVE as another version, with other labels, so that each answer tells which version gave it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.e2e.operating import edited, rename_labels

SECOND_VERSION = "2.0"


def main() -> None:
    source, folder = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    print(edited(source, folder, SECOND_VERSION, rename_labels).rename(folder / source.name))


if __name__ == "__main__":
    main()
