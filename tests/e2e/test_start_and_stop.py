"""Starting and stopping for real: how a stack ends, and how a start that cannot work ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from marserve.setup.environment import clone_lock, write_stamps
from marserve.setup.java import find_java
from marserve.stack.torchserve_answers import using_temp
from marserve.system.loopback import LOOPBACK, free_ports
from marserve.system.processes import record, running
from tests.e2e import serving
from tests.e2e.operating import served_archive
from tests.e2e.serving import ANSWER_S, START_S, Stack, run, stack_on_free_ports
from tests.support import CAT, REPOSITORY

#: The least that a start takes to serve the archives that ``served`` has built.
SERVE = (*serving.SERVE, "--workers", "1")
#: Seconds for everything to end.
STOP_S = 90


@pytest.fixture
def another() -> Iterator[Stack]:
    """Ports for a stack beside ``served``; whatever a failed test leaves of it is stopped."""
    stack = stack_on_free_ports()
    yield stack
    stack.end()


@pytest.mark.parametrize("way", ["SIGINT", "SIGTERM", "stop"])
def test_a_stack_in_the_foreground_ends_whole_and_alone(served: Stack, another: Stack, way: str) -> None:
    beside = {process.pid for process in served.processes()}
    command = [str(REPOSITORY / "scripts" / "serve"), *SERVE]
    with subprocess.Popen(command, env=another.environment, stdout=subprocess.PIPE, text=True) as serve:
        assert serve.stdout is not None
        printed = []
        for line in serve.stdout:
            printed.append(line)
            if line.startswith("Stop it:"):
                break
        assert printed[-1:], "it ended before it was ready"
        temp = another.state().temp
        processes = [record(process.name(), process.pid) for process in another.processes()]
        assert len(processes) >= 4  # TorchServe, the web service and a worker for each of two models
        if way == "stop":
            assert another.run("stop").returncode == 0
        else:
            serve.send_signal(getattr(signal, way))
        serve.stdout.read()
        assert serve.wait(STOP_S) == 0
    assert not [process for process in processes if running(process)]
    assert not using_temp(temp)
    assert not another.run_directory.state.exists()
    assert {process.pid for process in served.processes()} == beside
    assert served.predict().status_code == 200


def test_stopping_what_does_not_run_says_so(another: Stack) -> None:
    done = another.run("stop")
    assert (done.returncode, done.stdout) == (0, f"Nothing is running on web port {another.ports.web_port}.\n")


@pytest.fixture
def project(another: Stack, tmp_path: Path) -> Iterator[Path]:
    """A copy of the project that a test may break; its environment adds the packages of this one."""
    copy = tmp_path / "project"
    for name in ("config", "examples", "handler", "scripts", "src"):
        shutil.copytree(REPOSITORY / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(REPOSITORY / name, copy)
    (copy / "model_store").mkdir()
    venv.create(copy / ".venv", symlinks=True)
    (packages,) = (copy / ".venv").glob("lib/python*/site-packages")
    (packages / "project.pth").write_text(f"{copy / 'src'}\n{sysconfig.get_path('purelib')}\n")
    write_stamps(copy / ".venv", "serve", clone_lock(copy))
    yield copy
    run([str(copy / "scripts" / "stop")], another.environment)


def test_a_worker_that_cannot_start_ends_the_start_with_its_reason(
    served: Stack, another: Stack, project: Path
) -> None:
    """An archive that was changed after its check, so that only the worker finds it out."""
    for model in (one.name for one in served.state().models):
        archive, broken = served_archive(served, model), project / "model_store" / f"{model}.mar"
        with zipfile.ZipFile(archive) as good, zipfile.ZipFile(broken, "w") as bad:
            for name in good.namelist():
                content = good.read(name)
                if name == "model-config.yaml":
                    content = content.replace(b"default_top_k: 5", b"default_top_k: many")
                bad.writestr(name, content)
    done = run([str(project / "scripts" / "serve"), "--detach", *SERVE], another.environment)
    assert done.returncode == 1, done.stdout
    assert "A worker could not start" in done.stderr
    assert "handler.default_top_k = 'many' (a valid value is 5)" in done.stderr
    assert not (project / ".run" / str(another.ports.web_port) / "state.json").exists()
    for port in vars(another.ports).values():
        with socket.socket() as client:
            assert client.connect_ex((LOOPBACK, port)) != 0


def test_a_wrong_handler_setting_ends_the_start_with_its_name(another: Stack, project: Path) -> None:
    config = project / "config" / "model-config.yaml"
    config.write_text(config.read_text().replace("default_top_k: 5", "default_top_k: five"))
    done = run([str(project / "scripts" / "serve"), "--detach", *SERVE], another.environment)
    assert done.returncode == 1, done.stdout
    assert "handler.default_top_k = 'five' (a valid value is 5)" in done.stderr
    assert not (project / ".run" / str(another.ports.web_port) / "state.json").exists()


def test_a_taken_port_is_named_with_its_variable(another: Stack) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, another.ports.inference_port))
        taken.listen()
        done = another.run("serve", "--detach", *SERVE)
    assert done.returncode == 1
    assert f"Port {another.ports.inference_port} (MARSERVE_INFERENCE_PORT) is taken." in done.stderr
    assert "MARSERVE_INFERENCE_PORT=" in done.stderr


@pytest.mark.parametrize("arguments", [("--workers", "none"), ("--weights", "/nowhere/x.pth"), ("--unknown",)])
def test_wrong_arguments_are_refused(another: Stack, arguments: tuple[str, ...]) -> None:
    done = another.run("serve", *arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
    assert not another.run_directory.path.exists()


def test_an_archive_alone_is_served_by_a_stock_torchserve(served: Stack, tmp_path: Path) -> None:
    shutil.copy(served_archive(served), tmp_path / "resnet18.mar")
    names = ("inference", "management", "metrics", "grpc_inference", "grpc_management")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    lines = [f"{name}_address=http://{LOOPBACK}:{ports[name]}" for name in names[:3]]
    lines += [f"{name}_port={ports[name]}" for name in names[3:]]
    (tmp_path / "ports.properties").write_text("\n".join([*lines, "default_workers_per_model=1"]))
    temp = tmp_path / "t"
    temp.mkdir()
    path = os.pathsep.join([str(REPOSITORY / ".venv" / "bin"), str(find_java().parent), os.environ.get("PATH", "")])
    environment = {"PATH": path, "HOME": str(tmp_path), "TEMP": str(temp), "TMPDIR": str(temp)}
    start = "torchserve --start --ncs --model-store . --models resnet18=resnet18.mar --ts-config ports.properties"
    # Its output goes to a file: the server holds on to it for as long as it runs.
    with (tmp_path / "output.txt").open("wb") as output:
        subprocess.run(
            start.split(), cwd=tmp_path, env=environment, stdout=output, stderr=output, timeout=START_S, check=True
        )
    server = psutil.Process(int((temp / ".model_server.pid").read_text()))
    family = [server]
    try:
        answer = _first_answer(tmp_path / "key_file.json", ports["inference"], server)
        assert answer.json() == served.predict().json()
        family += server.children(recursive=True)
    finally:
        for process in family:
            if process.is_running():
                process.terminate()
        _, left = psutil.wait_procs(family, timeout=STOP_S)
        for process in left:
            process.kill()


def _first_answer(key_file: Path, port: int, server: psutil.Process) -> requests.Response:
    from marserve.torchserve.key_file import read_keys

    url = f"http://{LOOPBACK}:{port}/predictions/resnet18"
    give_up = time.monotonic() + START_S
    problem = "no key file"
    while time.monotonic() < give_up and server.is_running():
        time.sleep(0.5)
        if not key_file.exists():
            continue
        headers = {"Authorization": f"Bearer {read_keys(key_file).tokens['inference'].key}"}
        try:
            answer = requests.post(url, data=CAT.read_bytes(), headers=headers, timeout=ANSWER_S)
        except requests.ConnectionError as exc:
            problem = str(exc)
            continue
        if answer.status_code == 200:
            return answer
        problem = answer.text
    raise AssertionError(f"the stock TorchServe does not answer: {problem}")
