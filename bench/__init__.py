"""This project and other model servers, measured side by side."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
#: What a run needs again next time: the peers' virtual environments, and the archives of this project's servers.
#: May be a link to a larger disk, which clones may share.
ENVIRONMENTS = (REPOSITORY / "bench" / ".environments").resolve()
