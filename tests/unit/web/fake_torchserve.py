"""A TorchServe that does what it is told, on a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from aiohttp import web

Behaviour = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]

TRAINED = {
    "architecture": "resnet18",
    "class_count": 10,
    "running": {"picture_formats": ["JPEG", "HEIC"], "precision": "bf16"},
    "precision": "auto",
    "preprocessing": {"resize_size": 256, "crop_size": 224, "interpolation": "bilinear"},
    "weights": {"source": "a test", "sha256": None, "trained": True},
    "inputs_sha256": "a" * 64,
}
UNTRAINED = {**TRAINED, "weights": {"source": "seed", "sha256": None, "trained": False}}
DEMONSTRATION = {**TRAINED, "architecture": "efficientnet_lite0", "inputs_sha256": "d" * 64}

TOKEN_REFUSED = {
    "code": 400,
    "type": "InvalidKeyException",
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


def java_error(code: int, kind: str, message: str) -> web.Response:
    """As TorchServe itself answers: the connection is closed after it."""
    response = web.json_response({"code": code, "type": kind, "message": message}, status=code)
    response.force_close()
    return response


class FakeTorchServe:
    """Both APIs on one port."""

    def __init__(self) -> None:
        #: (name, version) to what its archive says about itself.
        self.archives: dict[tuple[str, str], Any] = {("resnet18", "1.0"): TRAINED}
        self.default_versions = {"resnet18": "1.0"}
        #: The process ids of all workers, and their status.
        self.workers = [100]
        self.worker_status = "READY"
        #: What answers pictures; probes for readiness (recognised by their request id) go to it as well.
        self.behaviour: Behaviour = self.answer
        #: Bodies and headers of the pictures, probes left out.
        self.pictures: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.describes = 0
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
        picture = await request.read()
        if not self._is_allowed(request, "inference"):
            return self._refuse()
        if request.headers.get("X-Request-ID") != "readiness":
            self.pictures.append(picture)
            self.headers.append(dict(request.headers))
            self.paths.append(request.path)
        if (request.match_info["model"], request.match_info["version"]) not in self.archives:
            return java_error(404, "ModelVersionNotFoundException", "Model version: 1.0 does not exist for model: x")
        return await self.behaviour(request, picture)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if self.is_frozen:
            await asyncio.sleep(60)
        if not self._is_allowed(request, "management"):
            return self._refuse()
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
            "workers": [{"id": str(pid), "pid": pid, "status": self.worker_status} for pid in self.workers],
        }
        return {**entry, "customizedMetadata": self.archives[name, version]} if is_customized else entry

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
        response = web.json_response(TOKEN_REFUSED, status=400)
        response.force_close()
        return response
