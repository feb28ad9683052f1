"""What the workers of one version of a model can be given at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marserve.web.models import KnownModel

#: Seconds in which a worker that is free has taken what was sent.
TAKEN_S = 0.0005


@dataclass(frozen=True)
class WorkerCapacity:
    """What TorchServe says of the workers, and their archive of itself."""

    #: Those that are READY; 0 where that is not known, or there is none: what is sent then waits in TorchServe for one.
    workers: int = 0
    #: Pictures that are computed together.
    batch_size: int = 1
    #: Whether several pictures may be sent together. Otherwise each goes alone, and TorchServe puts them together.
    reads_groups: bool = False
    #: Seconds in which a worker that has taken one request takes more: TorchServe's ``maxBatchDelay``.
    batch_delay_s: float = 0.0

    @classmethod
    def of(cls, model: KnownModel) -> WorkerCapacity:
        reported = model.reported
        return cls(
            workers=reported.ready_workers,
            batch_size=reported.batch_size,
            # Of an archive that may be another one by now it is not known.
            reads_groups=model.is_confirmed and model.description.reads_groups,
            batch_delay_s=reported.batch_delay_s,
        )

    @property
    def gather_s(self) -> float:
        """Seconds after which what is sent goes to another worker than what was sent before."""
        return self.batch_delay_s + TAKEN_S if self.reads_groups and self.batch_size > 1 else 0.0

    @property
    def pictures_in_group(self) -> int:
        return self.batch_size if self.reads_groups else 1

    @property
    def groups_at_work(self) -> int:
        """That keep the workers busy."""
        return max(self.workers, 1) * (1 if self.reads_groups else self.batch_size)

    @property
    def groups_on_way(self) -> int:
        """With the next one at hand: for a worker, or for the batch of one that TorchServe makes."""
        if not self.workers:
            return 1
        return self.groups_at_work + (1 if self.reads_groups else self.batch_size)
