"""What a TorchServe worker finds under the name torch before the handler is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY

HANDLER = REPOSITORY / "handler"


def run(tmp_path: Path, code: str, *, script: str = "model_service_worker.py", path: str = str(HANDLER)) -> str:
    """What ``code`` prints in a process that finds the handler as a worker does."""
    file = tmp_path / script
    file.write_text(code)
    done = subprocess.run(
        [sys.executable, file], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_importing_torch_in_a_worker_loads_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "import torch, sys; print(type(torch).__name__, 'torch._C' in sys.modules)") == (
        "DeferredTorch False"
    )


def test_whoever_looks_for_torch_is_told_that_it_is_installed(tmp_path: Path) -> None:
    code = "import importlib.util, sys; print(importlib.util.find_spec('torch').name, 'torch._C' in sys.modules)"
    assert run(tmp_path, code) == "torch False"


@pytest.mark.parametrize(
    "use",
    [
        "print(torch.ones(2).sum().item())",
        "import torch; print(torch.ones(2).sum().item())",
        "torch.Tensor; from torch import nn; import torch.fft; print(float(nn.Identity()(torch.tensor(2.0))))",
    ],
)
def test_the_stand_in_becomes_the_real_torch_when_it_is_used(tmp_path: Path, use: str) -> None:
    assert run(tmp_path, f"import torch\n{use}") == "2.0"


def test_the_real_torch_is_imported_once_the_stand_in_is_withdrawn(tmp_path: Path) -> None:
    code = (
        "import torch as held\nfrom resnet18 import deferred_torch\ndeferred_torch.withdraw()\n"
        "import torch, torch.nn\nprint(type(torch).__name__, held.Tensor is torch.Tensor)"
    )
    assert run(tmp_path, code) == "module True"


def test_a_process_that_is_no_worker_gets_the_real_torch(tmp_path: Path) -> None:
    assert run(tmp_path, "import torch; print(type(torch).__name__)", script="server.py") == "module"


def test_the_environments_own_sitecustomize_still_runs(tmp_path: Path) -> None:
    environments = tmp_path / "environment"
    environments.mkdir()
    (environments / "sitecustomize.py").write_text("print('monitored')")
    code = "import torch; print(type(torch).__name__)"
    assert run(tmp_path, code, path=f"{HANDLER}:{environments}") == "monitored\nDeferredTorch"
