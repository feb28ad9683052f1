"""A stack on a machine where nothing is as usual: paths, locale, proxies, foreign modules, no home."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import requests
import torch
from torchvision.models import resnet18

from tests.cases.machines import AWKWARD, all_at_once, foreign_modules
from tests.clones import ready_clone
from tests.e2e.serving import ANSWER_S, START_S, stack_on_free_ports
from tests.support import CAT

NAMES = ["虎斑猫", "Dackel (groß)", 'a "quoted" one']


def test_everything_unusual_at_once_is_served(tmp_path: Path) -> None:
    place = tmp_path / AWKWARD
    clone = ready_clone(place / "clone")
    weights, labels, pictures, temp = (
        place / name for name in ("weights ü.pth", "labels 図.txt", "Bilder 猫", "tmp é")
    )
    torch.manual_seed(1)
    torch.save(resnet18(num_classes=len(NAMES)).state_dict(), weights)
    labels.write_text("\n".join(NAMES), encoding="utf-8")
    pictures.mkdir()
    (pictures / "größe.jpg").write_bytes(CAT.read_bytes())
    temp.mkdir()
    stack = stack_on_free_ports()
    environment = {
        **{name: value for name, value in stack.environment.items() if name.startswith(("MARSERVE_", "COVERAGE_"))},
        **all_at_once(foreign_modules(place / "foreign")),
        "TMPDIR": str(temp),
    }

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        line = shlex.join(["bash", str(clone / "scripts" / "marserve"), *map(str, words)])
        return subprocess.run(
            ["/bin/bash", "-c", f"umask 077; exec <&-; {line}"],
            env=environment, cwd="/proc", capture_output=True, encoding="utf-8", timeout=START_S, check=False,
        )  # fmt: skip

    built_with = ("--weights", weights, "--labels", labels, "--precision", "f32", "--workers", "1")
    try:
        started = run("serve", "--detach", *built_with)
        assert started.returncode == 0, started.stdout + started.stderr
        with CAT.open("rb") as picture:
            answer = requests.post(f"{stack.web}/predict", files={"file": picture}, timeout=ANSWER_S)
        assert {prediction["label"] for prediction in answer.json()} == set(NAMES)
        classified = run("classify", pictures, "--output", place / "ergebnisse ü.jsonl", "--top-k", "1")
        assert classified.returncode == 0, classified.stderr
        (line,) = (place / "ergebnisse ü.jsonl").read_text(encoding="utf-8").splitlines()
        assert "größe.jpg" in line
        for words in (("status",), ("token", "management"), ("logs",), ("scale", "resnet18", "--workers", "1")):
            done = run(*words)
            assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stdout + done.stderr
    finally:
        stopped = run("stop")
    assert "Stopped serve" in stopped.stdout
    assert all(entry.name.startswith("torchinductor_") for entry in temp.iterdir())  # torch keeps a cache
