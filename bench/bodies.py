"""How one picture travels: the request's body and headers in the form that a server's recipe takes."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass

BOUNDARY = "bench-7f3c1d"
V2_HEADER_BYTES = 256
#: The ``body`` values of peer.toml.
KINDS = ("raw", "multipart", "base64-json", "v2-binary", "json")


@dataclass(frozen=True)
class BodyFormat:
    """``field`` names the form field, the JSON key or the tensor; ``template`` is the JSON text around ``{base64}``."""

    kind: str = "raw"
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
