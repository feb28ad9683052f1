"""What a supervisor has restarted: ``supervision.json``, for ``marserve status`` and the web service's metrics."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from marserve.system.files import replace_text
from marserve.system.processes import ProcessRecord

#: The latest restarts are described, all are counted.
DESCRIBED = 20


@dataclass
class Restart:
    """One restart of a service, of a ``worker`` or of the ``supervisor`` itself."""

    service: str
    reason: str
    #: Which one it is since the service was last healthy for a minute.
    attempt: int = 1
    #: Seconds since the epoch when the need for it was noticed.
    at: float = field(default_factory=time.time)
    #: Seconds from then on until it was ready; None as long as it is not.
    seconds: float | None = None


@dataclass
class Restarts:
    """Those since the stack was started, over all supervisors that it has had."""

    #: By service, as metrics name it.
    counts: dict[str, int] = field(default_factory=dict)
    latest: list[Restart] = field(default_factory=list)
    #: Who watches, for whoever asks whether it still runs.
    supervisor: ProcessRecord | None = None

    @classmethod
    def read(cls, file: Path) -> Restarts:
        """None at all where ``file`` does not say."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            counts = {str(name): int(count) for name, count in content["counts"].items()}
            return cls(counts, [Restart(**restart) for restart in content["latest"]])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def add(self, restart: Restart) -> None:
        self.counts[restart.service] = self.counts.get(restart.service, 0) + 1
        self.latest = [*self.latest, restart][-DESCRIBED:]

    def write(self, file: Path) -> None:
        """Replace ``file``; a reader sees the old content or the new one."""
        replace_text(file, json.dumps(asdict(self), indent=2))
