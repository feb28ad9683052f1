"""One deployment with replicas (Ray Serve: "Getting Started", "Dynamic Request Batching")."""

import argparse
import os
import signal
import threading

import ray
from model import load_model
from ray import serve
from starlette.requests import Request


@serve.deployment
class ImageClassifier:
    def __init__(self) -> None:
        self.model = load_model()

    async def __call__(self, request: Request) -> list[dict[str, object]]:
        return self.model.predict([await request.body()])[0]


@serve.deployment
class BatchedImageClassifier:
    def __init__(self) -> None:
        self.model = load_model()

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)
    async def classify(self, pictures: list[bytes]) -> list[list[dict[str, object]]]:
        return self.model.predict(pictures)

    async def __call__(self, request: Request) -> list[dict[str, object]]:
        return await self.classify(await request.body())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--batch", action="store_true")
    arguments = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    gpus = 1 if os.environ["DEVICE"] == "cuda" else 0
    ray.init(include_dashboard=False, num_cpus=arguments.replicas, num_gpus=gpus, _temp_dir=os.environ["TMPDIR"])
    serve.start(http_options={"host": "127.0.0.1", "port": arguments.port})
    deployment = BatchedImageClassifier if arguments.batch else ImageClassifier
    # A replica without a share of a GPU would not see it ("Resource Allocation"); Ray counts in ten-thousandths.
    if gpus:
        deployment = deployment.options(ray_actor_options={"num_gpus": 10_000 // arguments.replicas / 10_000})
    serve.run(deployment.options(num_replicas=arguments.replicas).bind())
    stop.wait()
    serve.shutdown()
    ray.shutdown()
