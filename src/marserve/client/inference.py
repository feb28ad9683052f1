"""Classifying pictures: the requests, and what the servers answer."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urlencode

from marserve.client.connection import Backoff, Connection
from marserve.client.credentials import ApiKey, KeyFileToken
from marserve.client.errors import ClientError, InvalidAnswer, PictureUnreadable

#: A picture: its bytes, an open file, or where its file is.
Picture = bytes | BinaryIO | str | os.PathLike[str]
GivenPicture = TypeVar("GivenPicture", bound=Picture)

#: The body as it is: no form around it, which both ends would have to build and search.
RAW = {"Content-Type": "application/octet-stream", "Accept": "application/json"}
#: Of a picture that nobody waits for: it is computed in the gaps that other callers leave.
BULK = {"X-Priority": "bulk"}
#: Pictures that are sent at once: enough to fill a few workers' batches, few enough not to fill the queue.
PARALLEL = 32
#: Seconds for one picture, retries included.
DEADLINE_S = 60.0
#: Seconds for what the service serves.
LIST_DEADLINE_S = 10.0


@dataclass(frozen=True)
class Prediction:
    class_id: int
    #: WordNet id; None for classes that are not ImageNet's.
    wnid: str | None
    label: str
    #: From 0 to 1; over all classes they add up to 1.
    probability: float


@dataclass(frozen=True)
class Explanation:
    """Where in the picture the most probable class was seen."""

    #: Rows of numbers from 0 to 1, top to bottom.
    map: list[list[float]]
    #: The part of the picture that the map covers, as fractions of its sides.
    crop: dict[str, float]


@dataclass(frozen=True)
class Classification:
    """The answer to one picture."""

    model: str
    #: None where the server does not say: TorchServe, where the request named no version.
    version: str | None
    #: ``trained``, ``untrained``, ``demonstration`` or ``unknown``; None at the level of TorchServe.
    weights: str | None
    #: The most probable first.
    predictions: tuple[Prediction, ...]
    #: Only where it was requested.
    explanation: Explanation | None = None


def parse_classification(body: bytes, *, version: str | None = None) -> Classification:
    """Read an answer of /classify, /explain or TorchServe. Raises InvalidAnswer."""
    try:
        content: Mapping[str, Any] = json.loads(body)
        explanation = content.get("explanation")
        return Classification(
            model=content["model"],
            version=content.get("version", version),
            weights=content.get("weights"),
            predictions=tuple(
                Prediction(entry["class_id"], entry["wnid"], entry["label"], entry["probability"])
                for entry in content["predictions"]
            ),
            explanation=None if explanation is None else Explanation(explanation["map"], explanation["crop"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise InvalidAnswer(
            "The answer is no classification: is this the address of the classification service?"
        ) from exc


@dataclass(frozen=True)
class WebEndpoint:
    """/classify and /explain of the web service."""

    #: None: the service's default model.
    model: str | None = None
    #: The version that is to answer; None: whichever the service chooses.
    version: str | None = None
    #: Of the labels: ``zh``; None: English.
    lang: str | None = None
    #: Whether requests of other callers go first.
    is_bulk: bool = False

    def target(self, *, top_k: int, explain: bool) -> tuple[str, dict[str, str]]:
        """Path and headers."""
        given = {"top_k": str(top_k), "model": self.model, "lang": self.lang}
        query = {name: value for name, value in given.items() if value is not None}
        headers = RAW | BULK if self.is_bulk else RAW
        if self.version is not None:
            headers = headers | {"X-Model-Version": self.version}
        return f"/{'explain' if explain else 'classify'}?{urlencode(query)}", headers


@dataclass(frozen=True)
class TorchServeEndpoint:
    """/predictions and /explanations of TorchServe."""

    model: str
    #: None: the default version.
    version: str | None = None

    def target(self, *, top_k: int, explain: bool) -> tuple[str, dict[str, str]]:
        """Path and headers; TorchServe ignores queries."""
        names = (self.model,) if self.version is None else (self.model, self.version)
        path = "/".join(["/explanations" if explain else "/predictions", *(quote(name, safe="") for name in names)])
        return path, {**RAW, "X-Top-K": str(top_k)}


class InferenceClient:
    """Classifies pictures; may be shared by threads. Close it, or use it in ``with``."""

    def __init__(
        self, connection: Connection, endpoint: WebEndpoint | TorchServeEndpoint, *, deadline_s: float = DEADLINE_S
    ) -> None:
        """Where ``for_web`` and ``for_torchserve`` do not fit."""
        self._connection = connection
        self._endpoint = endpoint
        self._deadline_s = deadline_s

    @classmethod
    def for_web(
        cls,
        url: str,
        *,
        model: str | None = None,
        version: str | None = None,
        lang: str | None = None,
        api_key: str | None = None,
        deadline_s: float = DEADLINE_S,
        connections: int = PARALLEL,
        backoff: Backoff | None = None,
        bulk: bool = False,
        ca: Path | None = None,
        certificate: Path | None = None,
    ) -> InferenceClient:
        """For the web service at ``url`` and its default model, or ``model``; ``lang`` ``zh`` is for Chinese labels.

        ``version`` is the one that is to answer, whatever becomes the default or is tried out meanwhile. ``bulk``:
        nobody waits for a single answer, so the service lets other callers' pictures go first.
        ``ca`` is a file with the certificates of authorities to trust, ``certificate`` one with the service's own.
        """
        connection = Connection(
            url, ApiKey(api_key), connections=connections, backoff=backoff, sends_deadlines=True,
            ca=ca, certificate=certificate,
        )  # fmt: skip
        return cls(connection, WebEndpoint(model, version, lang=lang, is_bulk=bulk), deadline_s=deadline_s)

    @classmethod
    def for_torchserve(
        cls,
        url: str,
        model: str,
        version: str | None = None,
        *,
        key_file: Path | None = None,
        management_url: str = "http://127.0.0.1:8081",
        deadline_s: float = DEADLINE_S,
        connections: int = PARALLEL,
        backoff: Backoff | None = None,
    ) -> InferenceClient:
        """For TorchServe's inference API at ``url``.

        ``key_file`` has its tokens, which ``management_url`` renews; None where token authorization is off.
        """
        token = ApiKey() if key_file is None else KeyFileToken(key_file, management_url, "inference")
        connection = Connection(url, token, connections=connections, backoff=backoff)
        return cls(connection, TorchServeEndpoint(model, version), deadline_s=deadline_s)

    def classify(
        self,
        picture: Picture,
        *,
        top_k: int = 5,
        explain: bool = False,
        deadline_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Classification:
        """The ``top_k`` most probable classes of one picture; 1 to 1000. Raises ClientError.

        ``headers`` go along, such as ``traceparent``, which makes the request a part of the caller's trace.
        """
        path, own = self._endpoint.target(top_k=top_k, explain=explain)
        deadline_s = self._deadline_s if deadline_s is None else deadline_s
        body = self._connection.request(
            "POST", path, headers={**(headers or {}), **own}, body=_read(picture), deadline_s=deadline_s
        )
        return parse_classification(body, version=self._endpoint.version)

    def explain(
        self,
        picture: Picture,
        *,
        top_k: int = 5,
        deadline_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Classification:
        """As ``classify``, with where in the picture the most probable class was seen."""
        return self.classify(picture, top_k=top_k, explain=True, deadline_s=deadline_s, headers=headers)

    def classify_many(
        self, pictures: Iterable[GivenPicture], *, top_k: int = 5, parallel: int = PARALLEL, in_order: bool = True
    ) -> Generator[tuple[GivenPicture, Classification | ClientError], None, None]:
        """Each picture with its answer or its error, ``parallel`` at work at once; as they are answered unless
        ``in_order``.

        ``pictures`` need not end: at most ``2 × parallel`` are taken before the first of them is handed out. Whoever
        stops early awaits what is at work, and leaves no request behind.
        """

        def classify(picture: GivenPicture) -> tuple[GivenPicture, Classification | ClientError]:
            try:
                return picture, self.classify(picture, top_k=top_k)
            except ClientError as exc:
                return picture, exc

        executor = ThreadPoolExecutor(parallel, thread_name_prefix="client")
        source = iter(pictures)
        # In order the next to hand out is the oldest; else each announces itself when it is done.
        waiting: deque[Future[tuple[GivenPicture, Classification | ClientError]]] = deque()
        done: SimpleQueue[Future[tuple[GivenPicture, Classification | ClientError]]] = SimpleQueue()
        at_work = 0
        try:
            while True:
                for picture in source:
                    future = executor.submit(classify, picture)
                    at_work += 1
                    if in_order:
                        waiting.append(future)
                    else:
                        future.add_done_callback(done.put)
                    if at_work >= 2 * parallel:
                        break
                if not at_work:
                    return
                answer = (waiting.popleft() if in_order else done.get()).result()
                at_work -= 1
                yield answer
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def reads(self, picture_format: str) -> bool:
        """Whether the service's model reads such as ``HEIC``; True, too, where it does not say."""
        if not isinstance(self._endpoint, WebEndpoint):
            return True
        try:
            listed = json.loads(self._connection.request("GET", "/models", deadline_s=LIST_DEADLINE_S, retry=False))
            name = self._endpoint.model or listed["default"]
            formats = next(model["picture_formats"] for model in listed["models"] if model["name"] == name)
        except (ClientError, ValueError, KeyError, TypeError, StopIteration):
            return True
        return not formats or picture_format in formats

    def close(self) -> None:
        """Close the connections; calls that wait for a retry fail at once."""
        self._connection.close()

    def __enter__(self) -> InferenceClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _read(picture: Picture) -> bytes:
    if isinstance(picture, bytes):
        return picture
    try:
        return Path(picture).read_bytes() if isinstance(picture, str | os.PathLike) else picture.read()
    except OSError as exc:
        raise PictureUnreadable(f"The picture cannot be read: {exc.strerror or exc}.") from exc
