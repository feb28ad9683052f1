"""What a stack is started with."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from marserve.autoscale.rules import Rules


@dataclass(frozen=True)
class Options:
    """The options of ``marserve serve``; files are absolute and exist."""

    detach: bool = False
    #: A file, ``untrained``, or None to look for the official weights.
    weights: Path | str | None = None
    labels: Path | None = None
    precision: str | None = None
    #: Folder of pictures for int8; None where the archives at hand were built with them.
    calibration: Path | None = None
    #: Built archives to serve instead of ResNet18; the first is the default model.
    archives: tuple[Path, ...] = ()
    #: Per model; None means as many as the cores suggest.
    workers: int | None = None
    #: Address that the web service listens on; everything else stays on 127.0.0.1.
    host: str = "127.0.0.1"
    #: Whether archives can be registered while it runs.
    model_api: bool = False
    #: How the number of workers is adapted; None: it stays as it is.
    autoscale: Rules | None = None

    def given(self) -> dict[str, str]:
        """What was chosen, by the option's name, in a form that can be stored and compared."""
        spelled = {"archives": "archive", "model_api": "model-api"}
        return {
            f"--{spelled.get(field.name, field.name)}": str(getattr(self, field.name))
            for field in fields(self)
            if field.name != "detach" and getattr(self, field.name) != field.default
        }
