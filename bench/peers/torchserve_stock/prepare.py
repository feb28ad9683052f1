"""Builds the archive as the example documents it, and writes config.properties for one variant."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--weights", required=True)
parser.add_argument("--labels", required=True)
parser.add_argument("--directory", type=Path, required=True)
parser.add_argument("--ports", nargs=5, required=True)
parser.add_argument("--workers", type=int, required=True)
parser.add_argument("--more-workers", type=int, default=0, help="added to --workers")
parser.add_argument("--batch", type=int, default=1)
arguments = parser.parse_args()

command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "resnet-18", "--version", "1.0"]
command += ["--model-file", "resnet18_model.py", "--serialized-file", arguments.weights]
command += ["--handler", "image_classifier", "--extra-files", arguments.labels]
command += ["--export-path", str(arguments.directory), "--force"]
subprocess.run(command, check=True)

workers = arguments.workers + arguments.more_workers
inference, management, metrics, grpc_inference, grpc_management = arguments.ports
models = {
    "resnet-18": {
        "1.0": {
            "defaultVersion": True,
            "marName": "resnet-18.mar",
            "minWorkers": workers,
            "maxWorkers": workers,
            "batchSize": arguments.batch,
            "maxBatchDelay": 10,
            "responseTimeout": 120,
        }
    }
}
(arguments.directory / "config.properties").write_text(
    f"""inference_address=http://127.0.0.1:{inference}
management_address=http://127.0.0.1:{management}
metrics_address=http://127.0.0.1:{metrics}
grpc_inference_port={grpc_inference}
grpc_management_port={grpc_management}
disable_token_authorization=true
job_queue_size=1000
load_models=resnet-18.mar
models={json.dumps(models)}
""",
    encoding="ascii",
)
