"""What all candidates of one run share: where files go, the weights, and what the peers are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LABELS = REPOSITORY / "config" / "index_to_name.json"


@dataclass(frozen=True)
class Workspace:
    """``temp`` is removed after the run; ``results`` stays."""

    temp: Path
    results: Path
    photographs: Path
    #: The seeded state dict that every server loads.
    weights: Path

    @property
    def logs(self) -> Path:
        return self.results / "logs"
