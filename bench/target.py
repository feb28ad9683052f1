"""Where a picture is sent, the form in which it travels, and one request with it."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.errors import BenchError
from marserve.system.loopback import LocalReply, request

_CLONE_NEWNET = 0x40000000
BOUNDARY = "bench-7f3c1d"
V2_HEADER_BYTES = 256
BodyKind = Literal["raw", "multipart", "base64-json", "v2-binary", "json"]


@dataclass(frozen=True)
class BodyFormat:
    """``field`` names the form field, the JSON key or the tensor; ``template`` is the JSON text around ``{base64}``."""

    kind: BodyKind = "raw"
    field: str = "file"
    #: Shape of the tensor of a v2 request.
    shape: tuple[int, ...] = (1,)
    template: str = ""

    def encode(self, picture: bytes) -> tuple[bytes, dict[str, str]]:
        """Body and headers for ``picture``, the bytes of a JPEG file."""
        if self.kind == "raw":
            return picture, {"Content-Type": "image/jpeg"}
        if self.kind == "multipart":
            return self._multipart(picture)
        if self.kind == "v2-binary":
            return self._v2_binary(picture)
        text = base64.b64encode(picture).decode()
        if self.kind == "json":
            return self.template.replace("{base64}", text).encode(), {"Content-Type": "application/json"}
        return json.dumps({self.field: text}).encode(), {"Content-Type": "application/json"}

    def _multipart(self, picture: bytes) -> tuple[bytes, dict[str, str]]:
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{self.field}"; filename="picture.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        )
        body = head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
        return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

    def _v2_binary(self, picture: bytes) -> tuple[bytes, dict[str, str]]:
        """The binary data extension of the Open Inference Protocol: a JSON header, then the tensor's bytes."""
        tensor = struct.pack("<I", len(picture)) + picture
        entry = {
            "name": self.field,
            "shape": list(self.shape),
            "datatype": "BYTES",
            "parameters": {"binary_data_size": len(tensor)},
        }
        # Padded, so that its length and with it the HTTP head is the same for every picture.
        header = json.dumps({"inputs": [entry]}).ljust(V2_HEADER_BYTES).encode()
        return header + tensor, {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(header)),
        }


@dataclass(frozen=True)
class Target:
    """``namespace`` names the network namespace that the server runs in; None is the machine's own."""

    port: int
    path: str
    body: BodyFormat
    headers: dict[str, str] = field(default_factory=dict)
    namespace: str | None = None
    #: Answers 200 to a GET once the server works; None: only an answer to a picture shows it.
    ready: str | None = None
    #: Whether it reads ``X-Request-Timeout-Ms``.
    takes_deadlines: bool = False


def send_picture(target: Target, picture: bytes, timeout_s: float = 60.0) -> LocalReply | None:
    """The answer for ``picture``; None where nobody answers properly in time."""
    body, headers = target.body.encode(picture)
    return send(target, "POST", target.path, body, {**headers, **target.headers}, timeout_s)


def send(
    target: Target, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout_s: float
) -> LocalReply | None:
    """One request to the server of ``target``; None where nobody answers properly in time."""

    def send_here() -> LocalReply | None:
        return request(method, target.port, path, body=body, headers=headers, timeout_s=timeout_s)

    if target.namespace is None:
        return send_here()
    # A thread may change its own namespace; it ends with the request.
    answers: list[LocalReply | None] = []
    problems: list[OSError] = []

    def inside(namespace: str) -> None:
        try:
            _enter(namespace)
        except OSError as exc:
            problems.append(exc)
            return
        answers.append(send_here())

    thread = threading.Thread(target=inside, args=(target.namespace,))
    thread.start()
    thread.join()
    if problems:
        raise BenchError(f"The network namespace {target.namespace} cannot be entered: {problems[0]}; run as root.")
    return answers[0] if answers else None


def _enter(namespace: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", namespace).open("rb") as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
