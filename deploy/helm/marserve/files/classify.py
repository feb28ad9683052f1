"""What `helm test` runs: the picture of a cat, sent as a caller sends it, and a look at the answer."""

import json
import os
import re
import ssl
import urllib.request
from pathlib import Path

from marserve.paths import EXAMPLE_PICTURE

url = os.environ["URL"]
headers = {"Content-Type": "image/jpeg"}
if file := os.environ.get("API_KEYS_FILE"):
    keys = [line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines()]
    headers["X-API-Key"] = next(key for key in keys if key and not key.startswith("#"))
# The name of a Service is in no certificate.
trust = ssl._create_unverified_context() if url.startswith("https") else None
request = urllib.request.Request(f"{url}/classify?top_k=5", EXAMPLE_PICTURE.read_bytes(), headers)
with urllib.request.urlopen(request, timeout=60, context=trust) as reply:
    answer = json.load(reply)

classes = answer["predictions"]
print(f"{answer['model']} {answer['version']}, {answer['weights']} weights:")
for one in classes:
    print(f"  {one['probability']:.4f} {one['label']}")
probabilities = [one["probability"] for one in classes]
assert probabilities == sorted(probabilities, reverse=True), "the most probable class is not the first"
assert 0 < sum(probabilities) < 1.0001, "these are no probabilities"
expected = os.environ["EXPECT"]
assert re.search(expected, classes[0]["label"]), f"{classes[0]['label']!r} does not match {expected!r}"
