"""Methods and addresses as clients, proxies and monitors send them."""

from __future__ import annotations

from typing import NamedTuple

#: Every address that GET answers.
READ = (
    "/",
    "/models",
    "/metrics",
    "/healthz",
    "/readyz",
    "/docs",
    "/docs/start.js",
    "/docs/assets/swagger-ui.css",
    "/openapi.json",
    "/labels/zh.json",
    "/example.jpg",
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
