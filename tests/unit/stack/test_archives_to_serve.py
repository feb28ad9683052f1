"""Archives that were named on the command line."""

import json
import zipfile
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.stack import archives
from marserve.stack.archives import Archive, archives_to_serve, configured_threads
from marserve.stack.options import Options


def archive(file: Path, model: str, config: str = "") -> Path:
    description = {"model": model, "version": "2.0", "weights": {"source": "finetuned.pth", "trained": True}}
    with zipfile.ZipFile(file, "w") as mar:
        mar.writestr("description.json", json.dumps(description))
        mar.writestr("model-config.yaml", config)
    return file


def test_they_are_served_in_their_order_and_nothing_is_built(tmp_path: Path) -> None:
    files = (archive(tmp_path / "b.mar", "shapes"), archive(tmp_path / "a.mar", "flowers"))
    served = archives_to_serve(Options(archives=files))
    assert [(one.model, one.path, one.version, one.trained) for one in served] == [
        ("shapes", files[0], "2.0", True),
        ("flowers", files[1], "2.0", True),
    ]


def test_the_network_in_a_checkpoint_is_chosen_by_the_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built: list[list[str]] = []

    def build(arguments: list[str]) -> Archive:
        built.append(arguments)
        return Archive("resnet18", tmp_path, "1.0", "file run.ckpt", True)

    monkeypatch.setattr(archives, "_build", build)
    archives_to_serve(Options(weights=tmp_path / "run.ckpt", weights_key="ema", labels=tmp_path))
    expected = ["--weights", str(tmp_path / "run.ckpt"), "--weights-key", "ema", "--labels", str(tmp_path)]
    assert built == [["--model-name", "resnet18", *expected]]


def test_two_of_one_name_are_refused_with_both_ways_out(tmp_path: Path) -> None:
    files = (archive(tmp_path / "a.mar", "shapes"), archive(tmp_path / "b.mar", "shapes"))
    with pytest.raises(
        MarserveError, match=r"b\.mar and .*a\.mar are both called shapes: .*--model-name.*marserve deploy"
    ):
        archives_to_serve(Options(archives=files))


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_another_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "other.mar"
    if content is None:  # an archive of somebody else's handler
        with zipfile.ZipFile(file, "w") as mar:
            mar.writestr("MAR-INF/MANIFEST.json", "{}")
    else:
        file.write_bytes(content)
    with pytest.raises(MarserveError, match=r"other\.mar is no archive of \./scripts/marserve build"):
        archives_to_serve(Options(archives=(file,)))


@pytest.mark.parametrize(
    ("configs", "threads"),
    [
        (["handler:\n  threads: auto\n"], None),
        (["handler:\n  threads: 2\n", "handler:\n  threads: 4\n", "handler: {}\n"], 4),
        (["handler:\n  threads: many\n", "", "minWorkers: 2\n", "{", "handler:\n  threads: 0\n"], None),
    ],
)
def test_the_threads_that_archives_set_are_known_before_workers_are_counted(
    tmp_path: Path, configs: list[str], threads: int | None
) -> None:
    files = tuple(archive(tmp_path / f"{i}.mar", f"m{i}", config) for i, config in enumerate(configs))
    assert configured_threads(archives_to_serve(Options(archives=files))) == threads
