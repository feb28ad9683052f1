"""scripts/classify.py and the client with the real stack."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from marserve.client.errors import Refused
from marserve.client.inference import InferenceClient
from marserve.client.management import ManagementClient
from marserve.system.waiting import wait_until
from tests.e2e.serving import Stack
from tests.support import CAT

PICTURES = 300
WAIT_S = 120


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of which no two are the same: a JPEG may have anything behind its end."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(PICTURES):
        (folder / f"{number:04}.jpg").write_bytes(CAT.read_bytes() + str(number).encode())
    return folder


def results(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("name", ["results.jsonl", "results.csv"])
def test_a_folder_run_that_is_killed_goes_on_to_exactly_one_result_a_picture(
    served: Stack, folder: Path, tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    command = [sys.executable, "-m", "marserve", "classify", str(folder), "--output", str(file)]
    with subprocess.Popen(command, env=served.environment) as process:
        try:
            some = wait_until(
                lambda: len(results(file)) >= PICTURES // 3,
                WAIT_S,
                poll_s=0.01,
                while_alive=lambda: process.poll() is None,
            )
            assert some, process.poll()
        finally:
            process.kill()
    before = results(file)
    assert len(before) < PICTURES
    done = subprocess.run(command, env=served.environment, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr
    after = results(file)
    rows = after[1:] if name.endswith(".csv") else after
    paths = [row.split(",")[0] if name.endswith(".csv") else json.loads(row)["path"] for row in rows]
    assert sorted(paths) == sorted(str(path) for path in folder.iterdir())
    assert after[: len(before) - 1] == before[:-1]  # all but the last, which may have been cut off, were kept


def test_both_levels_give_the_same_answer_and_the_tokens_are_found(served: Stack) -> None:
    key_file = served.run_directory.key_file
    with (
        InferenceClient.for_web(served.web, model="resnet18") as web,
        InferenceClient.for_torchserve(
            served.inference, "resnet18", key_file=key_file, management_url=served.management
        ) as torchserve,
    ):
        explained = web.explain(CAT)
        assert web.classify(CAT).predictions == torchserve.classify(CAT).predictions
        assert explained.explanation is not None
        assert torchserve.explain(CAT).explanation == explained.explanation
        with pytest.raises(Refused) as caught:
            torchserve.classify(b"no picture")
    assert (caught.value.status, caught.value.type) == (415, "UnsupportedImage")


def test_models_are_listed_described_and_scaled(served: Stack) -> None:
    with ManagementClient(served.management, key_file=served.run_directory.key_file) as management:
        assert set(management.list_models()) == {"resnet18", "efficientnet_lite0"}
        described = management.describe("efficientnet_lite0", customized=True)
        assert described.description is not None
        assert described.description["architecture"] == "efficientnet_lite0"
        management.set_default("efficientnet_lite0", described.version)
        management.scale("efficientnet_lite0", described.ready_workers + 1)
        try:
            more = management.wait_until_ready("efficientnet_lite0", workers=described.ready_workers + 1)
            assert len(more.workers) == described.ready_workers + 1
        finally:
            management.scale("efficientnet_lite0", described.ready_workers)
        assert management.describe_all("efficientnet_lite0")[0].ready_workers == described.ready_workers
