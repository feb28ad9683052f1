"""Pictures under which workers end, or hang until they are ended: after two the picture is sent to no worker any more.

They are known by the digest of their bytes, together with the archive whose workers ended: another archive may bear
them. They are kept in a file, so that a restart of this service costs no more workers.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from marserve.system.files import failure_of, replace_text

if TYPE_CHECKING:  # `marserve status` reads the file where the packages of the web service are not installed
    from marserve.web.metrics import WebMetrics
    from marserve.web.models import KnownModel

logger = logging.getLogger(__name__)

#: Workers that end under a picture until it is refused. One may be chance.
DEADLY = 2
#: Pictures that are remembered; then the one that was heard of least lately is forgotten.
MAX_PICTURES = 1000
#: A larger file is not ours: each picture takes some 250 bytes.
MAX_FILE_BYTES = 1_000_000


@dataclass(eq=False)
class Suspicion:
    """What one picture did to the workers of one archive."""

    model: str
    #: The archive's digest, or its name where it has none.
    archive: str
    sha256: str
    size_bytes: int
    #: Workers that ended under it by themselves, and that hung until TorchServe ended them. None yet of one that was at
    #: a worker that hung together with others: it goes alone from then on.
    deaths: int = 0
    hangs: int = 0

    @property
    def is_proven(self) -> bool:
        return self.deaths + self.hangs >= DEADLY


class Quarantine:
    """The pictures that are suspected, and those that are refused."""

    def __init__(self, file: Path | None, metrics: WebMetrics) -> None:
        """``file`` None: nothing outlives this process."""
        self._file = file
        self._metrics = metrics
        #: In the order in which they were last heard of.
        self._known = OrderedDict((_key(one), one) for one in ([] if file is None else read_suspicions(file)))
        #: Digests are expensive: only pictures of a size that is here are looked up.
        self._sizes = Counter(one.size_bytes for one in self._known.values())
        self._writing = asyncio.Lock()
        self._count()

    def find(self, model: KnownModel, picture: bytes) -> Suspicion | None:
        """What is known of ``picture``; None for almost every picture."""
        if len(picture) not in self._sizes:
            return None
        return self._known.get((model.name, archive_of(model), hashlib.sha256(picture).hexdigest()))

    async def blame(
        self, model: KnownModel, picture: bytes, request_id: str, *, is_well: bool, hung: bool = False
    ) -> bool:
        """A worker of ``model`` ended by itself, or ``hung``, under ``picture``, which was alone there: whether that is
        proof.

        It is where it is not the first, and ``is_well``: right before it another picture was answered. Else it may be
        the archive, or the machine, that ends everything.
        """
        suspicion = self._suspect(model, picture)
        if suspicion.deaths + suspicion.hangs and not is_well:
            return False
        if hung:
            suspicion.hangs += 1
        else:
            suspicion.deaths += 1
        number = suspicion.deaths + suspicion.hangs
        logger.warning(
            "A worker of %s %s %s under picture %s (%d bytes, request %s): %s",
            model.name, model.version, "hung" if hung else "ended", suspicion.sha256, suspicion.size_bytes, request_id,
            f"the {number}. one; it is refused from now on" if suspicion.is_proven else "the first one",
        )  # fmt: skip
        await self._save()
        return suspicion.is_proven

    async def suspect(self, model: KnownModel, pictures: Sequence[bytes]) -> None:
        """A worker of ``model`` hung under one of ``pictures``, and nobody knows which."""
        for picture in pictures:
            self._suspect(model, picture)
        await self._save()

    def _suspect(self, model: KnownModel, picture: bytes) -> Suspicion:
        suspicion = self.find(model, picture)
        if suspicion is None:
            sha256 = hashlib.sha256(picture).hexdigest()
            suspicion = Suspicion(model.name, archive_of(model), sha256, len(picture))
            self._known[_key(suspicion)] = suspicion
            self._sizes[suspicion.size_bytes] += 1
        self._known.move_to_end(_key(suspicion))
        if len(self._known) > MAX_PICTURES:
            self._forget(next(iter(self._known.values())))
        return suspicion

    async def acquit(self, suspicion: Suspicion) -> None:
        """It was answered, or workers end without it just as well."""
        if not suspicion.is_proven and _key(suspicion) in self._known:
            self._forget(suspicion)
            await self._save()

    def _forget(self, suspicion: Suspicion) -> None:
        del self._known[_key(suspicion)]
        self._sizes -= Counter([suspicion.size_bytes])

    async def _save(self) -> None:
        """A disk that takes nothing costs only the memory beyond this process."""
        self._count()
        if self._file is None:
            return
        async with self._writing:
            text = json.dumps({"pictures": [asdict(one) for one in self._known.values()]}, indent=1)
            try:
                await asyncio.to_thread(replace_text, self._file, text)
            except OSError as exc:
                logger.warning("The pictures that end workers cannot be kept: %s", failure_of(exc))

    def _count(self) -> None:
        self._metrics.quarantined.set(sum(one.is_proven for one in self._known.values()))


def archive_of(model: KnownModel) -> str:
    """What stays the same while workers come and go: of an archive that was built anew it is another one."""
    return model.description.inputs_sha256 or model.reported.archive


def read_suspicions(file: Path) -> list[Suspicion]:
    """What ``file`` says, which may be missing, damaged or somebody else's: then it says nothing."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
        found = [_parse(one) for one in json.loads(content)["pictures"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
        logger.warning("%s says nothing of pictures that end workers: %s", file, exc)
        return []
    return found[-MAX_PICTURES:]


def _key(suspicion: Suspicion) -> tuple[str, str, str]:
    return suspicion.model, suspicion.archive, suspicion.sha256


def _parse(content: dict[str, object]) -> Suspicion:
    """Raises ValueError, KeyError or TypeError."""
    parsed = Suspicion(**content)  # type: ignore[arg-type]
    texts = (parsed.model, parsed.archive, parsed.sha256)
    if {*map(type, texts)} != {str} or {type(parsed.size_bytes), type(parsed.deaths), type(parsed.hangs)} != {int}:
        raise ValueError("it has another form")
    return parsed
