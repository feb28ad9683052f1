"""Ray: its own on this machine, which ends with the run, or a cluster that is there already.

Ray asks nobody for a token unless RAY_AUTH_MODE says so, and whoever reaches its port runs programs on its hosts.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from marserve.bulk.messages import Messages
from marserve.errors import MarserveError
from marserve.handler.resnet18.cpu import usable_cores
from marserve.system.machine import visible_gpus

#: Bytes of shared memory of Ray of our own, for what actors and the driver exchange: lists of names, and the archive,
#: which is there once and copied once. Pictures stay where they are read.
OBJECT_STORE_BYTES, COPIES = 100_000_000, 2
#: Begins the name of the directory of a Ray of our own; the id of its driver follows.
PREFIX = "marserve-ray-"
#: Characters of the directory above it: Ray makes sockets below, whose paths the kernel lets have 107 bytes.
LONGEST_PLACE = 20
SHORT_PLACE = Path("/tmp")  # noqa: S108 - the directory made in it is this user's alone
#: On a busy machine Ray gives itself up when it has not started within 30 seconds, which it cannot be told.
STARTS = 3
#: Seconds for a cluster's port to answer.
CONNECT_S = 5.0
#: Tries to join, a second each, in place of Ray's 20: that something answers is known before.
TRIES = "3"
#: Succeeds where a cluster lets everybody in.
JOIN_AS_NOBODY = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"


class ClusterError(MarserveError):
    """There is no Ray to work with; the message says what to do."""


@contextmanager
def connected(address: str | None, *, actors: int | None, archive_bytes: int) -> Iterator[None]:
    """Ray is there inside the block: that at ``address``, such as 10.0.0.1:6379 or auto, else one of its own.

    Its own has a place for each of ``actors`` (None: a core of this machine). Raises ClusterError.
    """
    # It would send what it is used for.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # A thread that Ray Data still has after the end would start another one.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    # Ray prints to standard output what is said otherwise, the last of it when it is shut down.
    ray_is_there = _own(actors or usable_cores(), archive_bytes) if address is None else _foreign(address)
    with redirect_stdout(Messages(sys.stdout)), ray_is_there:
        from ray.data import DataContext

        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        # A look at each actor's memory once a second, and lines for a log, take a percent of what they watch.
        context.memory_usage_poll_interval_s = None
        context.enable_auto_log_stats = False
        context.execution_no_progress_timeout_s = -1  # Watch knows more to say
        context.raise_original_map_exception = True  # what it would raise instead loses its cause on the way
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it logs is raised as well
        yield


@contextmanager
def _own(cpus: int, archive_bytes: int) -> Iterator[None]:
    _remove_left_behind()
    # A token that nobody else has, and that is gone with the run.
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = (
        "0"  # as it is there: on loopback, of which Ray knows no other way
    )
    import ray

    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_place()))
    try:
        for left in reversed(range(STARTS)):
            try:
                _init(
                    "local", num_cpus=cpus, num_gpus=visible_gpus(), include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES + COPIES * archive_bytes,
                    _temp_dir=str(directory),
                )  # fmt: skip
                break
            except Exception as exc:  # which Ray raises itself
                ray.shutdown()
                if not left:
                    raise ClusterError(f"Ray did not start on this machine: {exc}") from exc
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)


def _place() -> Path:
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= LONGEST_PLACE else SHORT_PLACE


def _remove_left_behind() -> None:
    """What killed runs have left: directories, and two agents of Ray, which look for its head for a minute.

    All other processes of such a Ray end by themselves within seconds.
    """
    import psutil

    for directory in _place().glob(f"{PREFIX}*-*"):
        owner = directory.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            for process in psutil.process_iter(["cmdline"]):
                with suppress(psutil.Error):
                    if "".join(process.info["cmdline"] or ()).startswith("ray::") and any(
                        Path(file.path).is_relative_to(directory) for file in process.open_files()
                    ):
                        process.kill()
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _foreign(address: str) -> Iterator[None]:
    if "://" in address:
        raise ClusterError(
            f"--address {address}: give HOST:PORT, and start this on one of its hosts, or as its job (ray job submit)."
        )
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", TRIES)
    if address != "auto":
        _check_port(address)
        _check_token(address)  # before Ray asks for a token of ours, which nobody may have made
    import ray

    try:
        _init(address)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as exc:
        raise ClusterError(_why_not(address, exc)) from exc
    try:
        if address == "auto":
            _check_token(ray.get_runtime_context().gcs_address)
        yield
    finally:
        ray.shutdown()


def _init(address: str, **settings: Any) -> None:
    """Of Ray's own lines only the last of a process that it ends is let through; what it raises says the rest."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _check_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ClusterError(f"--address {address}: give HOST:PORT, such as 10.0.0.1:6379, or auto.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as exc:
        raise ClusterError(f"Nothing answers at {address}: is that the head of a Ray cluster?") from exc


def _check_token(address: str) -> None:
    """Raises ClusterError for a cluster that lets everybody in, unless that is asked for."""
    if os.environ["RAY_AUTH_MODE"].lower() == "disabled":
        return
    nobody = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    command = [sys.executable, "-c", JOIN_AS_NOBODY, address]
    joined = subprocess.run(command, env=nobody | {"RAY_AUTH_MODE": "disabled"}, capture_output=True, check=False)
    if joined.returncode == 0:
        raise ClusterError(
            f"The cluster at {address} asks nobody for a token: whoever reaches it runs programs on its hosts. Start "
            "them with RAY_AUTH_MODE=token and the same RAY_AUTH_TOKEN (ray get-auth-token --generate makes one), or "
            "set RAY_AUTH_MODE=disabled to join it all the same."
        )


def _why_not(address: str, error: BaseException) -> str:
    cause: BaseException | None = error
    causes = []
    while cause is not None:
        causes.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    if any("AuthenticationError" in text for text in causes):
        return (
            f"The cluster at {address} wants another token: set RAY_AUTH_TOKEN to the one that its hosts were started "
            "with, or RAY_AUTH_TOKEN_PATH to its file (usually ~/.ray/auth_token)."
        )
    first = str(error).strip().partition("\n")[0].rstrip(".")
    return f"Ray cannot join {address}: {first}. Is this one of the cluster's hosts?"
