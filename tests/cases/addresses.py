"""Methods and addresses as clients, proxies and monitors send them."""

from __future__ import annotations

from typing import NamedTuple

#: Every address that GET answers.
READ = (
    "/",
    "/models",
    "/metrics",
    "/metrics/torchserve",
    "/healthz",
    "/readyz",
    "/docs",
    "/docs/assets/swagger-ui.css",
    "/openapi.json",
    "/labels/zh.json",
    "/example.jpg",
    "/examples/tiger.jpg",
    "/examples/list.json",
    "/static/main.js",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/resnet18",
    "/v2/models/resnet18/ready",
    "/v2/models/resnet18/versions/1.0",
    "/v2/models/resnet18/versions/1.0/ready",
)
#: Every address that takes a picture as it is.
PICTURES = ("/predict", "/classify", "/explain")
#: The methods that each address names in Allow.
ALLOWED = {
    **dict.fromkeys(READ, "GET, HEAD, OPTIONS"),
    **dict.fromkeys(PICTURES, "OPTIONS, POST, PUT"),
    "/v2/models/resnet18/infer": "OPTIONS, POST",
    "/v2/models/resnet18/versions/1.0/infer": "OPTIONS, POST",
}


class Spelling(NamedTuple):
    """An address, and what answers a picture that is sent there."""

    target: str
    status: int
    #: In the message of a refusal.
    says: str = ""
    method: str = "POST"


SPELLINGS = {
    "as it is": Spelling("/predict", 200),
    "slash in the end": Spelling("/predict/", 200),
    "slash before the query": Spelling("/predict/?top_k=1", 200),
    "slashes in the end": Spelling("/predict//", 200),
    "base address that ends in a slash": Spelling("//predict", 200),
    "slashes everywhere": Spelling("//predict///", 200),
    "letter percent-encoded": Spelling("/%70redict", 200),
    "absolute form": Spelling("http://web.example/predict", 200),
    "absolute form with slash": Spelling("http://web.example/predict/", 200),
    "put": Spelling("/predict", 200, method="PUT"),
    "put with slash": Spelling("/predict/", 200, method="PUT"),
    "put of curl -T to a directory": Spelling("/predict/cat.JPG", 404, "/predict? (curl -T appends", method="PUT"),
    "put of a file elsewhere": Spelling("/models/cat.jpg", 404, "nothing at this address; /docs", method="PUT"),
    "post of a file's name": Spelling("/predict/cat.jpg", 404, "nothing at this address; /docs"),
    "upper case": Spelling("/PREDICT", 404, "did you mean /predict?"),
    "capital": Spelling("/Predict/", 404, "did you mean /predict?"),
    "encoded slash before": Spelling("/%2Fpredict", 404, "did you mean /predict?"),
    "encoded slash after": Spelling("/predict%2f", 404, "did you mean /predict?"),
    "prefix that a proxy left": Spelling(
        "/ai/predict", 404, "did you mean /predict? A proxy that serves this below /ai"
    ),
    "prefix as host": Spelling("//web.example/predict", 404, "did you mean /predict?"),
    "torchserve's address": Spelling("/predictions/resnet18", 404, "nothing at this address; /docs"),
    "model with a slash": Spelling("/v2/models/a%2Fb/infer", 404, "nothing at this address; /docs"),
    "longer than anybody writes": Spelling("/" + "A" * 9000, 404, "nothing at this address; /docs"),
    "broken percent": Spelling("/%zz%ff", 404, "nothing at this address; /docs"),
    "not ascii": Spelling("/猫", 400, "percent-encoded"),
    "space": Spelling("/a b", 400, "percent-encoded"),
    "absolute form without a path": Spelling("http://web.example", 400, "cannot be read"),
    "tunnel": Spelling("web.example:443", 400, "cannot be read", method="CONNECT"),
    "tunnel to a path": Spelling("http://web.example/predict", 400, "cannot be read", method="CONNECT"),
    "wrong method": Spelling("/predict/", 405, "Use POST or PUT", method="PATCH"),
    "wrong method for a page": Spelling("/docs/", 405, "Use GET"),
}

_BODY = b"content-length: 7\r\n\r\npicture"
_OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n\r\n7\r\npicture\r\n0\r\n\r\n"

#: A picture, "picture", in HTTP as others write it, each to be answered with 200.
WIRES = {
    "http 1.0": b"POST /predict HTTP/1.0\r\n" + _BODY,
    "http 1.0, kept alive": b"POST /predict HTTP/1.0\r\nconnection: keep-alive\r\n" + _BODY,
    "no host": b"POST /predict HTTP/1.1\r\n" + _BODY,
    "in chunks": b"POST /predict HTTP/1.1\r\nhost: a\r\n" + _CHUNKED,
    "expects 100": b"POST /predict HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n" + _BODY,
    "Expects 100": b"PUT /predict HTTP/1.1\r\nhost: a\r\nExpect: 100-Continue\r\n" + _BODY,
    "expects something else": b"POST /predict HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\n" + _BODY,
    "offers HTTP/2, as Java": b"POST /predict HTTP/1.1\r\nhost: a\r\n" + _OFFER + _BODY,
    "offers HTTP/2, in chunks": b"PUT /predict/ HTTP/1.1\r\nhost: a\r\n" + _OFFER + _CHUNKED,
    "offers a web socket": b"POST /predict HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    + _BODY,
    **{
        f"content type {content_type!r}": b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: %b\r\n" % content_type
        + _BODY
        for content_type in (
            b"",
            b";",
            b"*/*",
            b"IMAGE/JPEG",
            b"Image/Jpeg; charset=UTF-8; q=1",
            b"application/octet-stream",
            b"text/plain",
            b"nonsense",
        )
    },
}
