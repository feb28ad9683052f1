"""Classifying pictures."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import BinaryIO

from marserve.client.backoff import Backoff
from marserve.client.connection import Connection
from marserve.client.credentials import ApiKey, KeyFileToken
from marserve.client.endpoints import Endpoint, TorchServeEndpoint, WebEndpoint
from marserve.client.errors import ClientError, PictureUnreadable
from marserve.client.parallel import run_in_parallel
from marserve.client.predictions import Classification, parse_classification

#: A picture: its bytes, an open file, or where its file is.
Picture = bytes | BinaryIO | str | os.PathLike[str]

#: Pictures that are asked about at once: enough to fill a few workers' batches, few enough not to fill the queue.
PARALLEL = 32
#: Seconds for one picture, repetitions included.
DEADLINE_S = 60.0


class InferenceClient:
    """Classifies pictures; may be shared by threads. Close it, or use it in ``with``."""

    def __init__(self, connection: Connection, endpoint: Endpoint, *, deadline_s: float = DEADLINE_S) -> None:
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
        api_key: str | None = None,
        deadline_s: float = DEADLINE_S,
        connections: int = PARALLEL,
        backoff: Backoff | None = None,
    ) -> InferenceClient:
        """For the web service at ``url`` and its default model, or ``model``."""
        connection = Connection(url, ApiKey(api_key), connections=connections, backoff=backoff)
        return cls(connection, WebEndpoint(model), deadline_s=deadline_s)

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
        self, picture: Picture, *, top_k: int = 5, explain: bool = False, deadline_s: float | None = None
    ) -> Classification:
        """The ``top_k`` most probable classes of one picture; 1 to 1000. Raises ClientError."""
        reply = self._connection.ask(
            "POST",
            self._endpoint.path(top_k=top_k, explain=explain),
            headers=self._endpoint.headers(top_k=top_k),
            body=_read(picture),
            deadline_s=self._deadline_s if deadline_s is None else deadline_s,
        )
        return parse_classification(reply.body, version=self._endpoint.version)

    def explain(self, picture: Picture, *, top_k: int = 5, deadline_s: float | None = None) -> Classification:
        """As ``classify``, with where in the picture the most probable class was seen."""
        return self.classify(picture, top_k=top_k, explain=True, deadline_s=deadline_s)

    def classify_many(
        self, pictures: Iterable[Picture], *, top_k: int = 5, parallel: int = PARALLEL, in_order: bool = True
    ) -> Generator[tuple[Picture, Classification | ClientError], None, None]:
        """Each picture with its answer or its error; as they are answered unless ``in_order``.

        ``pictures`` is read as it is needed, and need not end. Whoever stops early leaves no request behind.
        """

        def ask(picture: Picture) -> Classification | ClientError:
            try:
                return self.classify(picture, top_k=top_k)
            except ClientError as exc:
                return exc

        return run_in_parallel(ask, pictures, parallel=parallel, in_order=in_order)

    def close(self) -> None:
        """Close the connections; calls that wait to ask again fail at once."""
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
