"""What ``marserve plan measure`` found out about one pod, as the file that ``marserve plan`` reads.

All times are seconds. Samples rise, and are at most ``MOST_SAMPLES`` evenly spaced quantiles of all that were taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from marserve.errors import MarserveError
from marserve.system.files import failure_of, replace_text

MOST_SAMPLES = 200


class MeasurementError(MarserveError):
    """The file is no measurement; the message says what is wrong with it."""

    exit_status = 2


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MeasuredMachine(_Part):
    processor: str
    #: That the pod may use.
    cores: int
    #: The instructions that decide how fast networks are.
    flags: tuple[str, ...]
    memory_bytes: int
    kernel: str


class MeasuredModel(_Part):
    name: str
    version: str
    architecture: str | None
    precision: str | None
    #: The file, and its SHA-256; None where it is on another machine.
    archive: str | None
    sha256: str | None
    #: Pictures that are computed together; of another machine the largest group that was seen.
    batch_size: int
    #: TorchServe's ``maxBatchDelay``.
    batch_delay_s: float | None


class MeasuredPod(_Part):
    workers: int
    #: Of one worker, while others are at work, and while none is; None where that is not known.
    threads: int | None
    threads_when_alone: int | None
    #: From the command to the first answer; None where the service ran already.
    cold_start_s: float | None


class MeasuredPictures(_Part):
    count: int
    mean_bytes: float
    source: str


class Samples(_Part):
    count: int
    mean_s: float
    samples_s: tuple[float, ...]

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Samples:
        """Their quantiles; of none zeros."""
        rising = sorted(seconds)
        step = max(len(rising) / MOST_SAMPLES, 1.0)
        chosen = [rising[int((number + 0.5) * step)] for number in range(min(len(rising), MOST_SAMPLES))]
        return cls(
            count=len(rising),
            mean_s=sum(rising) / len(rising) if rising else 0.0,
            samples_s=tuple(round(each, 6) for each in chosen),
        )


class GroupSamples(Samples):
    """What a worker spent on a group, by its own clock, less what the pace of the machine made of it."""

    #: Workers that were at work, itself included.
    busy: int
    pictures: int


class Overhead(Samples):
    """All of an answer but the worker's own time, of pictures that went alone and waited for nothing."""

    #: Its parts, on average: the way to the worker and back, and the web service.
    hop_s: float
    web_s: float
    #: How much longer the way is for each further picture of the group.
    hop_picture_s: float
    #: A worker's pause from one group to the next that waits for it, besides its own time, and how much longer it is
    #: for each further picture of that.
    between_groups_s: float
    between_picture_s: float


class Cost(_Part):
    """Processor seconds."""

    picture_s: float
    group_s: float
    #: More for a picture that comes while there was nothing to do.
    wake_s: float = 0.0

    def of(self, pictures: float, groups: float = 1.0) -> float:
        return self.picture_s * pictures + self.group_s * groups


class Processors(_Part):
    """What each process takes for pictures and for groups."""

    web: Cost
    torchserve: Cost
    worker: Cost
    #: The load generator's, which takes it from the same cores.
    generator: Cost


class MeasuredCapacity(_Part):
    """What clients get that always have a request out."""

    per_s: float
    clients: int
    rounds_per_s: tuple[float, ...]
    #: Share of the time that workers were at work, by their own clocks.
    worker_busy: float
    #: What a worker spent on a group.
    groups: tuple[GroupSamples, ...]

    @property
    def spread(self) -> float:
        """From the lowest round to the highest, as a share."""
        return (max(self.rounds_per_s) - min(self.rounds_per_s)) / self.per_s


class OpenRun(_Part):
    """Requests that came at their own times, and how they were answered."""

    arrivals: str
    load: float
    per_s: float
    #: One of each part; the parts have equally many requests.
    seeds: tuple[int, ...]
    requests: int
    failed: int
    p50_s: float
    p99_s: float
    #: Share of all requests that was answered within so many milliseconds.
    within: dict[int, float]
    #: How late the generator itself was.
    lag_p99_s: float
    #: What a worker spent on a group.
    groups: tuple[GroupSamples, ...]


class Noise(_Part):
    """Whether the machine was quiet."""

    #: Share of the cores' time that the hypervisor gave to others, and cores that other processes took.
    steal_share: float
    other_cores: float
    load_before: float
    #: Requests of others that the service answered meanwhile; None where its metrics cannot be read.
    foreign_requests: int | None
    #: Why the figures are not to be trusted; empty where they are.
    reasons: tuple[str, ...]

    @property
    def trusted(self) -> bool:
        return not self.reasons


class Conditions(_Part):
    """What was measured, on what, and how quiet it was."""

    measured_at: str
    marserve: str
    seconds: float
    #: None where the service is on another machine.
    machine: MeasuredMachine | None
    model: MeasuredModel
    pod: MeasuredPod
    pictures: MeasuredPictures
    noise: Noise


class Measurement(Conditions):
    format: Literal["marserve-measurement-2"] = "marserve-measurement-2"
    overhead: Overhead
    #: None where the service is on another machine.
    processors: Processors | None
    capacity: MeasuredCapacity
    runs: tuple[OpenRun, ...]
    #: By how much workers were slower than on average, from ``pod_spec.PACE_S`` to ``PACE_S``.
    pace: tuple[float, ...]

    @property
    def groups(self) -> tuple[GroupSamples, ...]:
        """Of all loads."""
        return (*(each for run in self.runs for each in run.groups), *self.capacity.groups)

    @classmethod
    def read(cls, file: Path) -> Measurement:
        """Raises MeasurementError."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as exc:
            raise MeasurementError(f"The measurement cannot be read: {failure_of(exc)}") from exc
        except ValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(map(str, first["loc"])) or "it"
            raise MeasurementError(
                f"{file} is no measurement of marserve plan measure: {where}: {first['msg']}. Measure again."
            ) from exc

    def write(self, file: Path) -> None:
        """Replace ``file``; a reader sees the old measurement or this one. Raises OSError."""
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, self.model_dump_json(indent=1) + "\n")
