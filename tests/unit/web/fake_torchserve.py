"""A TorchServe that does what it is told, on a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

Behaviour = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]

TRAINED = {
    "architecture": "resnet18",
    "class_count": 10,
    "running": {"picture_formats": ["JPEG", "HEIC"], "precision": "bf16", "reads_groups": True},
    "precision": "auto",
    "preprocessing": {"resize_size": 256, "crop_size": 224, "interpolation": "bilinear"},
    "weights": {"source": "a test", "sha256": None, "trained": True},
    "inputs_sha256": "a" * 64,
}
#: An archive that was built before groups: it takes one picture a request.
WITHOUT_GROUPS = {**TRAINED, "running": {"picture_formats": ["JPEG", "HEIC"], "precision": "bf16"}}
UNTRAINED = {**TRAINED, "weights": {"source": "seed", "sha256": None, "trained": False}}
DEMONSTRATION = {**TRAINED, "architecture": "efficientnet_lite0", "inputs_sha256": "d" * 64}

TOKEN_REFUSED: dict[str, Any] = {
    "code": 400,
    "kind": "InvalidKeyException",
    "message": "Token Authorization failed. Token either incorrect, expired, or not provided correctly",
}


def predictions_for(picture: bytes, top_k: int) -> list[dict[str, object]]:
    """Different for different pictures, so that a mixed-up answer shows."""
    name = hashlib.sha256(picture).hexdigest()[:12]
    shares = [2.0 ** -(rank + 1) for rank in range(10)]
    return [
        {"class_id": (picture[0] + rank) % 10, "wnid": None, "label": f"{name} {rank}", "probability": shares[rank]}
        for rank in range(min(top_k, 10))
    ]


#: Of groups, written out once more here: what both sides of the service take from one module, a test would not see.
GROUP_TYPE, ANSWERS_TYPE = "application/x-picture-group", "application/x-picture-answers"
PART = struct.Struct("<II")


def split_group(group: bytes) -> list[tuple[int, bytes]]:
    """(top_k, picture) of each part."""
    parts: list[tuple[int, bytes]] = []
    position = 0
    while position < len(group):
        top_k, length = PART.unpack_from(group, position)
        position += PART.size
        picture = group[position : position + length]
        assert len(picture) == length
        parts.append((top_k, picture))
        position += length
    assert parts
    return parts


def join_answers(answers: Sequence[tuple[int, bytes]], worker_us: int) -> bytes:
    """Of (HTTP status, body) for each picture, in order."""
    parts = (PART.pack(status, len(body)) + body for status, body in answers)
    return struct.pack("<I", worker_us) + b"".join(parts)


class JavaError(web.Response):
    """As TorchServe itself answers: the connection is closed after it."""

    def __init__(self, code: int, kind: str, message: str) -> None:
        content = {"code": code, "type": kind, "message": message}
        super().__init__(status=code, text=json.dumps(content), content_type="application/json")
        self.force_close()


def java_error(code: int, kind: str, message: str) -> web.Response:
    return JavaError(code, kind, message)


def _as_sent_alone(group: web.BaseRequest, top_k: int) -> web.Request:
    """One picture's request, for behaviours that know nothing of groups."""
    headers = CIMultiDict(group.headers)
    headers["X-Top-K"] = str(top_k)
    one = group.clone(headers=headers)
    assert isinstance(one, web.Request)
    return one


class FakeTorchServe:
    """Both APIs on one port."""

    def __init__(self) -> None:
        #: (name, version) to what its archive says about itself.
        self.archives: dict[tuple[str, str], Any] = {("resnet18", "1.0"): TRAINED}
        self.default_versions = {"resnet18": "1.0"}
        #: The process ids of all workers, and their status.
        self.workers = [100]
        self.worker_status = "READY"
        #: After which TorchServe ends a worker that does not answer.
        self.response_timeout_s = 30
        self.started = "2026-11-24T15:25:00.431Z"
        #: What answers pictures; probes for readiness (recognised by their request id) go to it as well.
        self.behaviour: Behaviour = self.answer
        #: How many pictures came in each group, and what a worker says that it spent on one, in microseconds.
        self.groups: list[int] = []
        self.worker_us = 1000
        #: A worker's Server-Timing; an archive that was built before that has none.
        self.timing: dict[str, str] = {}
        #: Bodies, headers and paths of the pictures, those of groups one by one, probes left out.
        self.pictures: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.describes = 0
        #: Lists of all models that were answered.
        self.lists = 0
        #: Set: management calls never answer.
        self.is_frozen = False
        self.key_file: Path | None = None
        self.renewals = 0
        self._keys: dict[str, str] = {}
        self._expiries: dict[str, datetime] = {}
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        """Listen, on the same port as before where ``port`` is that."""
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/{kind:predictions|explanations}/{model}/{version}", self._predict)
        app.router.add_get("/models", self._list)
        app.router.add_get("/models/{model}", self._describe)
        app.router.add_get("/models/{model}/{version}", self._describe)
        app.router.add_get("/token", self._renew)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close everything, as a process that ends does."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def is_listening(self) -> bool:
        return self._runner is not None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def require_tokens(self, key_file: Path, valid_for: timedelta = timedelta(hours=1)) -> None:
        """Ask for tokens from now on, new ones at each call: as a restart makes them."""
        self.key_file = key_file
        generation = str(int(self._keys.get("API", "API-0").partition("-")[2]) + 1)
        self._keys = {kind: f"{kind}-{generation}" for kind in ("inference", "management", "API")}
        self._expiries = dict.fromkeys(("inference", "management"), datetime.now(timezone.utc) + valid_for)
        self._write_keys()

    def forget_token(self, kind: str) -> None:
        """Refuse the token that stands in the key file: it has expired."""
        self._keys[kind] = "none that anybody knows"

    async def answer(self, request: web.Request, picture: bytes) -> web.StreamResponse:
        """Classify."""
        answer: dict[str, object] = {
            "model": request.match_info["model"],
            "predictions": predictions_for(picture, int(request.headers["X-Top-K"])),
        }
        if request.match_info["kind"] == "explanations":
            strengths = [[(x + y) / 12 for x in range(7)] for y in range(7)]
            crop = {"left": 0.125, "top": 0.0, "right": 0.875, "bottom": 1.0}
            answer["explanation"] = {
                "class_id": int(request.headers.get("X-Class-ID", 1)),
                "map": strengths,
                "crop": crop,
            }
        return web.json_response(answer)

    async def _predict(self, request: web.Request) -> web.StreamResponse:
        alone = request.clone()
        body = await request.read()
        if not self._is_allowed(request, "inference"):
            return self._refuse()
        named = request.match_info["model"], request.match_info["version"]
        is_group = request.content_type == GROUP_TYPE
        parts = split_group(body) if is_group else [(0, body)]
        requests = [_as_sent_alone(alone, top_k) for top_k, _ in parts] if is_group else [request]
        if request.headers.get("X-Request-ID") != "readiness":
            for one, (_, picture) in zip(requests, parts, strict=True):
                self.pictures.append(picture)
                self.headers.append(dict(one.headers))
                self.paths.append(request.path)
            if is_group:
                self.groups.append(len(parts))
        if named not in self.archives:
            return java_error(404, "ModelVersionNotFoundException", "Model version: 1.0 does not exist for model: x")
        if not is_group:
            return await self.behaviour(request, body)
        assert self.archives[named]["running"]["reads_groups"]
        answers = await asyncio.gather(
            *(self.behaviour(one, picture) for one, (_, picture) in zip(requests, parts, strict=True))
        )
        return self._together(answers)

    def _together(self, answers: Sequence[web.StreamResponse]) -> web.StreamResponse:
        """One answer of a group; what TorchServe itself says about one of its pictures, it says about all."""
        of_handler: list[tuple[int, bytes]] = []
        for answer in answers:
            if isinstance(answer, JavaError) or not isinstance(answer, web.Response):
                return answer
            assert isinstance(answer.body, bytes)
            of_handler.append((answer.status, answer.body))
        body = join_answers(of_handler, self.worker_us)
        return web.Response(body=body, content_type=ANSWERS_TYPE, headers=self.timing)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if self.is_frozen:
            await asyncio.sleep(60)
        if not self._is_allowed(request, "management"):
            return self._refuse()
        self.lists += 1
        return web.json_response(
            {"models": [{"modelName": name, "modelUrl": f"{name}.mar"} for name in self.default_versions]}
        )

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        if not self._is_allowed(request, "management"):
            return self._refuse()
        name, version = request.match_info["model"], request.match_info.get("version")
        if version == "all":
            found = [key for key in self.archives if key[0] == name]
        else:
            found = [(name, version or self.default_versions[name])]
        is_customized = request.query.get("customized") == "true"
        self.describes += is_customized
        return web.json_response([self._entry(*key, is_customized) for key in found])

    def _entry(self, name: str, version: str, is_customized: bool) -> dict[str, object]:
        entry: dict[str, object] = {
            "modelName": name,
            "modelVersion": version,
            "modelUrl": f"{name}.mar",
            "batchSize": 8,
            "responseTimeout": self.response_timeout_s,
            "maxBatchDelay": 1,
            "workers": [
                {"id": str(pid), "pid": pid, "status": self.worker_status, "startTime": self.started}
                for pid in self.workers
            ],
        }
        return {**entry, "customizedMetadata": self.archives[name, version]} if is_customized else entry

    async def _metrics(self, _: web.Request) -> web.StreamResponse:
        """Without a token, as TorchServe does it."""
        text = '# TYPE ts_inference_requests_total counter\nts_inference_requests_total{model_name="resnet18",} 7.0\n'
        return web.Response(text=text)

    async def _renew(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self._keys['API']}":
            return self._refuse()
        self.renewals += 1
        kind = request.query["type"]
        self._keys[kind] = f"{kind}-renewed-{self.renewals}"
        self._expiries[kind] = datetime.now(timezone.utc) + timedelta(hours=1)
        self._write_keys()
        return web.Response(text="\n")

    def _write_keys(self) -> None:
        assert self.key_file is not None
        content = {
            kind: {"key": self._keys[kind], "expiration time": expiry.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")}
            for kind, expiry in self._expiries.items()
        }
        self.key_file.write_text(json.dumps({**content, "API": {"key": self._keys["API"]}}))

    def _is_allowed(self, request: web.Request, kind: str) -> bool:
        return self.key_file is None or request.headers.get("Authorization") == f"Bearer {self._keys[kind]}"

    def _refuse(self) -> web.Response:
        return JavaError(**TOKEN_REFUSED)
