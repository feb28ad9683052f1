"""Functions bound to Triton (PyTriton: "Quick Start", "Binding Model to Triton", "Multi-instance model inference")."""

import argparse
import json
import os
import sysconfig

import numpy as np
from model import load_model
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


class ImageClassifier:
    def __init__(self) -> None:
        self.model = load_model()

    @batch
    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        answers = self.model.predict([bytes(encoded[0]) for encoded in image])
        return {"labels": np.array([[json.dumps(answer).encode()] for answer in answers])}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ports", type=int, nargs=3)
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--delay-us", type=int, default=0, help="that Triton waits for more pictures")
    arguments = parser.parse_args()
    http, grpc, metrics = arguments.ports
    # Triton's Python backend needs the libpython of this interpreter, not the system's (PyTriton: "Installation").
    os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    config = TritonConfig(
        http_address="127.0.0.1", http_port=http, grpc_address="127.0.0.1", grpc_port=grpc,
        metrics_address="127.0.0.1", metrics_port=metrics,
    )  # fmt: skip
    with Triton(config=config) as triton:
        triton.bind(
            model_name="resnet18",
            infer_func=[ImageClassifier() for _ in range(arguments.instances)],
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="labels", dtype=bytes, shape=(1,))],
            config=ModelConfig(
                max_batch_size=arguments.batch,
                batcher=DynamicBatcher(max_queue_delay_microseconds=arguments.delay_us),
            ),
        )
        triton.serve()
