"""The running service that is measured: where it answers, and how it is loaded."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client.samples import Sample

from marserve.client.connection import Connection
from marserve.client.credentials import ApiKey
from marserve.client.errors import ClientError
from marserve.errors import MarserveError
from marserve.plan.generator import MARK
from marserve.plan.load import LoadJob, OpenLoad, run_load, write_requests
from marserve.torchserve.metrics import read_samples

TIMING = re.compile(r"queue;dur=(\d+\.\d+), group;dur=(\d+\.\d+);desc=(\d+), company;desc=(\d+), worker;dur=(\d+\.\d+)")
BOUNDARY = "marserve-plan-7f3c1d"
JPEG, COMMENT = b"\xff\xd8", b"\xff\xfe"
#: Seconds until a request is given up: the service's own deadline is 10 s.
GIVE_UP_S = 12.0
#: Seconds for one answer of the service while nothing is measured.
ASK_S = 10.0


class MeasuringError(MarserveError):
    """The service cannot be measured; the message says what to do."""


@dataclass(frozen=True)
class Timing:
    """What the service says of one picture; seconds."""

    number: int
    queue_s: float
    group_s: float
    worker_s: float
    #: Pictures in its group, and groups on their way when that was sent, itself included.
    pictures: int
    company: int

    @property
    def group(self) -> tuple[float, float, int]:
        """Tells its group from others."""
        return self.group_s, self.worker_s, self.pictures


def timings(load: OpenLoad) -> list[Timing]:
    """Of the answers with status 200, in the order of their requests."""
    found = []
    for number, (status, kept) in enumerate(zip(load.status, load.kept, strict=True)):
        if status == 200 and (match := TIMING.fullmatch(kept)):
            queue_ms, group_ms, pictures, company, worker_ms = match.groups()
            queue_s, group_s, worker_s = (float(each) / 1e3 for each in (queue_ms, group_ms, worker_ms))
            found.append(Timing(number, queue_s, group_s, worker_s, int(pictures), int(company)))
    return found


@dataclass(frozen=True)
class ServiceAddress:
    """``certificate`` is the one that alone is trusted; ``ca`` a file of authorities. Without both, the usual ones."""

    url: str
    api_key: str | None = None
    certificate: Path | None = None
    ca: Path | None = None
    #: A name of /models; None: the default model.
    model: str | None = None


@dataclass
class LoadedService:
    """Sends load; ``pictures`` are the bytes of files."""

    address: ServiceAddress
    pictures: Sequence[bytes]
    #: Processor time of all loads so far, in seconds.
    generator_cpu_s: float = 0.0
    #: Requests so far.
    sent: int = 0
    _requests: str = ""
    _key: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def prepared(self) -> Iterator[LoadedService]:
        """With its requests written down; inside, ``send`` works."""
        self._key = ApiKey(self.address.api_key).headers()
        with tempfile.TemporaryDirectory(prefix="marserve-plan-") as directory:
            path = (
                urlsplit(self.address.url).path.rstrip("/")
                + "/predict?top_k=5"
                + (f"&model={self.address.model}" if self.address.model else "")
            )
            content = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
            write_requests(Path(directory), "POST", path, content, [form_of(picture) for picture in self.pictures])
            self._requests = directory
            yield self

    def send(
        self,
        due: Sequence[float] = (),
        *,
        clients: int = 0,
        seconds: float = 0.0,
        alive: Callable[[], None] = lambda: None,
    ) -> OpenLoad:
        """One load: an open loop of ``due``, or a closed one of ``clients`` for ``seconds``."""
        parts = urlsplit(self.address.url)
        job = LoadJob(
            parts.port or (443 if parts.scheme == "https" else 80), self._requests, list(due), clients, seconds,
            first=self.sent, headers=self._key, host=parts.hostname or "", tls=parts.scheme == "https",
            certificate=_text(self.address.certificate), ca=_text(self.address.ca), keeps="Server-Timing",
            give_up_s=GIVE_UP_S,
        )  # fmt: skip
        load = run_load(job, alive=alive)
        self.sent += len(load.due)
        self.generator_cpu_s += load.cpu_s
        return load

    def ask(self, path: str) -> bytes:
        """The body of the answer to GET. Raises ClientError."""
        address = self.address
        connection = Connection(
            address.url, ApiKey(address.api_key), connections=1, ca=address.ca, certificate=address.certificate
        )
        try:
            return connection.request("GET", path, deadline_s=ASK_S, retry=False)
        finally:
            connection.close()

    def metrics(self) -> list[Sample]:
        """Of /metrics; empty where they cannot be read."""
        try:
            return read_samples(self.ask("/metrics").decode(errors="replace"))
        except ClientError:
            return []


def form_of(picture: bytes) -> bytes:
    """A form with ``picture``, which is another file each time that it is sent: a comment in a JPEG, else bytes after
    its end.
    """
    if picture.startswith(JPEG):
        marked = JPEG + COMMENT + (len(MARK) + 2).to_bytes(2, "big") + MARK + picture[2:]
    else:
        marked = picture + MARK
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="picture"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + marked + f"\r\n--{BOUNDARY}--\r\n".encode()


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
