"""Waiting until every model answers a real prediction; TorchServe's own ping is 200 long before that."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from marserve.errors import MarserveError
from marserve.paths import EXAMPLE_PICTURE
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.system.loopback import request
from marserve.terminal import Progress
from marserve.torchserve import failures
from marserve.torchserve.key_file import read_keys
from marserve.torchserve.models import model_path, parse_version

#: TorchServe itself gives a worker two minutes to start.
DEADLINE_S = 150.0
#: Seconds for the first prediction of a model.
PREDICTION_S = 30.0


def wait_until_ready(
    process: subprocess.Popen[bytes], models: Sequence[str], ports: Ports, run_directory: RunDirectory
) -> None:
    """Return when each model has a READY worker and has classified the example picture.

    Raises MarserveError, with the reason from the logs, when TorchServe or a worker ends, or when it takes too long.
    """
    waiting = list(models)
    logs = run_directory.logs
    give_up = time.monotonic() + DEADLINE_S
    with Progress("Loading the models") as progress:
        while waiting:
            progress.update(", ".join(waiting))
            if process.poll() is not None:
                raise MarserveError(f"TorchServe ended at once:\n{_shown(failures.server_reason(logs), logs)}")
            if failures.worker_was_lost(logs) or failures.archive_was_refused(logs):
                time.sleep(0.5)  # for the rest of the message to be written
                raise MarserveError(f"A worker could not start:\n{_shown(failures.worker_reason(logs), logs)}")
            if time.monotonic() > give_up:
                names = " and ".join(waiting)
                raise MarserveError(
                    f"No answer from {names} in {DEADLINE_S:.0f} seconds:\n{_shown(failures.worker_reason(logs), logs)}"
                )
            waiting = [model for model in waiting if not _answers(model, ports, run_directory)]
            if waiting:
                time.sleep(0.3)


def _answers(model: str, ports: Ports, run_directory: RunDirectory) -> bool:
    if not run_directory.key_file.exists():  # Java has not come that far
        return False
    keys = read_keys(run_directory.key_file)
    reply = request("GET", ports.management_port, model_path(model), token=keys.tokens["management"].key)
    if reply is None or reply.status != 200 or not parse_version(json.loads(reply.body)[0]).ready_workers:
        return False
    token, picture = keys.tokens["inference"].key, EXAMPLE_PICTURE.read_bytes()
    path = f"/predictions/{model}"
    reply = request("POST", ports.inference_port, path, token=token, body=picture, timeout_s=PREDICTION_S)
    if reply is not None and reply.status != 200:
        text = reply.body.decode(errors="replace").strip()
        raise MarserveError(f"{model} answers its first prediction with status {reply.status}: {text}")
    return reply is not None


def _shown(reason: str, logs: Path) -> str:
    return "\n".join([*(f"  {line}" for line in reason.splitlines()), f"Logs: {logs}"])
