"""Servers on a GPU are measured where PyTorch can compute on one; elsewhere they are skipped with the reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import __main__ as command
from bench.candidate import Workspace
from bench.errors import BenchError, NoGpuError
from bench.goals import goals
from bench.gpu import Gpu, find_gpu, visible_devices
from bench.measurements import Summary
from bench.options import parse_options
from bench.peer_files import PEERS
from bench.pictures import PHOTOGRAPHS, PictureSet
from marserve.archive.weights.state_dict import seeded_state_dict
from marserve.paths import EXAMPLE_PICTURE, HANDLER
from tests.support import CAT
from tests.unit.bench.records import complete_run, load

FOUND = {"name": "NVIDIA H100", "memory_gb": 85.0, "cuda": "13.0"}


@pytest.fixture(autouse=True)
def no_gpu_is_remembered() -> None:
    find_gpu.cache_clear()


def program(directory: Path, name: str, script: str) -> Path:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    file.chmod(0o755)
    return file


def test_gpu_is_what_pytorch_computes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "nvidia-smi", "echo 580.65")
    python = program(tmp_path, "python", f"echo '{json.dumps(FOUND)}'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert find_gpu(python) == Gpu("NVIDIA H100", 85.0, "13.0", "580.65")
    assert str(find_gpu(python)) == "NVIDIA H100, 85.0 GB, driver 580.65, CUDA 13.0"


@pytest.mark.parametrize(
    ("smi", "python", "reason"),
    [
        (None, "exit 0", "there is no NVIDIA driver"),
        ("echo No devices were found; exit 6", "exit 0", "finds none (No devices were found)."),
        ("exit 9", "exit 0", "status 9"),
        ("echo 580.65", "echo Traceback >&2; echo 'Error: old driver' >&2; exit 1", "on it (Error: old driver)."),
        (
            "echo 580.65",
            "echo 'Torch not compiled with CUDA enabled' >&2; exit 1",
            "start again: it is installed for GPUs",
        ),
    ],
    ids=["no driver", "no device", "broken driver", "old driver", "PyTorch for processors"],
)
def test_reason_is_said_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smi: str | None, python: str, reason: str
) -> None:
    if smi is not None:
        program(tmp_path, "nvidia-smi", smi)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoGpuError) as refusal:
        find_gpu(program(tmp_path, "python", python))
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("allowed", "device", "seen"), [(None, "gpu", "0"), ("2,3", "gpu", "2"), ("", "gpu", ""), ("2,3", "cpu", "")]
)
def test_server_sees_one_gpu_or_none(
    monkeypatch: pytest.MonkeyPatch, allowed: str | None, device: str, seen: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert visible_devices(device) == {"CUDA_VISIBLE_DEVICES": seen}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "devices"), [([], {"cpu", "gpu"}), (["--device", "cpu"], {"cpu"}), (["--device", "gpu"], {"gpu"})]
)
def test_servers_are_chosen_by_their_device(tmp_path: Path, arguments: list[str], devices: set[str]) -> None:
    options = parse_options(["--photographs", str(tmp_path), *arguments])
    candidates = command.chosen_servers(Workspace(tmp_path, tmp_path, tmp_path, tmp_path / "weights.pth"), options)
    assert {candidate.device for candidate in candidates} == devices
    for candidate in candidates:
        assert (candidate.device == "gpu") == ("/GPU" in candidate.key) == (", GPU" in candidate.title)
    on_gpu = {candidate.key.partition("/")[0] for candidate in candidates if candidate.device == "gpu"}
    assert on_gpu >= ({"ours", "pytriton", "litserve", "torchserve_stock"} if "gpu" in devices else set())


def test_servers_on_a_gpu_are_skipped_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find_no_gpu(_python: Path) -> Gpu:
        raise NoGpuError("there is no NVIDIA driver.")

    monkeypatch.setattr(command, "find_gpu", find_no_gpu)
    monkeypatch.setattr(command, "wrk_program", lambda: "wrk")
    monkeypatch.setattr(command, "read_photographs", lambda _: PictureSet(PHOTOGRAPHS, (b"",)))
    arguments = ["bench", "--photographs", str(tmp_path), "--dry-run"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert command.main() == 0
    said = capsys.readouterr()
    assert (said.out + said.err).count("there is no NVIDIA driver.") == 1
    assert "ours/f32" in said.out + said.err
    assert "GPU" not in (said.out + said.err).replace("servers on a GPU", "")
    monkeypatch.setattr(sys, "argv", [*arguments, "--device", "gpu"])
    with pytest.raises(BenchError, match=r"Nothing can be measured: there is no NVIDIA driver\."):
        command.main()


def test_run_of_peers_without_gpu_variants_needs_no_archive_for_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = PictureSet(PHOTOGRAPHS, (b"",))
    devices: list[str] = []
    monkeypatch.setattr(command, "wrk_program", lambda: "wrk")
    for name in ("read_photographs", "in_color", "make_large"):
        monkeypatch.setattr(command, name, lambda *_: pictures)
    monkeypatch.setattr(command, "_measure", lambda _workspace, options, *_: devices.append(options.device))
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench", "--photographs", str(tmp_path), "--only", "flask"])
    assert command.main() == 0
    assert devices == ["cpu"]


def test_goals_compare_what_computes_on_the_processor() -> None:
    on_gpu = [
        load("ours/GPU f16/TorchServe", 2000.0, device="gpu"),
        load("torchserve_stock/GPU, 1 worker", 900.0, device="gpu"),
        load("litserve/GPU, our engine f16", 1500.0, device="gpu"),
    ]
    assert goals(Summary([*complete_run(), *on_gpu])) == goals(Summary(complete_run()))


def with_state_dict(archive: Path, tmp_path: Path) -> Path:
    """What a peer is given: the unpacked ``archive``, and the same weights as a state dict."""
    directory = shutil.copytree(archive, tmp_path / "archive")
    torch.save(seeded_state_dict("resnet18", 1000), directory / "weights.pth")
    return directory


def answers(directory: Path, device: str, engine: str) -> list[list[dict[str, object]]]:
    """What a peer answers for two pictures, computed as in its own process."""
    environment = {
        **os.environ, "PYTHONPATH": f"{PEERS / 'common'}:{HANDLER}", "DEVICE": device, "ENGINE": engine,
        "WEIGHTS": str(directory / "weights.pth"), "ARCHIVE": str(directory), "PRECISION": "f32",
    }  # fmt: skip
    program = (
        "import json, sys; from pathlib import Path; from model import load_model\n"
        "print(json.dumps(load_model().predict([Path(file).read_bytes() for file in sys.argv[1:]])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, CAT, EXAMPLE_PICTURE],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[list[dict[str, object]]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("engine", ["recipe", "ours"])
def test_peer_names_five_classes_of_each_picture(resnet18_directory: Path, tmp_path: Path, engine: str) -> None:
    directory = with_state_dict(resnet18_directory, tmp_path)
    for labels in answers(directory, "cpu", engine):
        assert len({label["label"] for label in labels}) == 5
        probabilities = [label["probability"] for label in labels]
        assert probabilities == sorted(probabilities, reverse=True)  # type: ignore[type-var]


@pytest.mark.needs("nvidia-gpu")
@pytest.mark.parametrize("engine", ["recipe", "ours"])
def test_peer_answers_on_a_gpu_as_on_the_processor(resnet18_directory: Path, tmp_path: Path, engine: str) -> None:
    assert find_gpu(Path(sys.executable)).name
    directory = with_state_dict(resnet18_directory, tmp_path)
    on_cpu, on_gpu = (answers(directory, device, engine) for device in ("cpu", "cuda"))
    for expected, found in zip(on_cpu, on_gpu, strict=True):
        assert [label["probability"] for label in found] == pytest.approx(
            [label["probability"] for label in expected], abs=0.01
        )
