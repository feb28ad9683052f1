"""Archives as they are built: contents, reproducibility, refusals, and what is left behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from marserve.archive import build as building
from marserve.archive.build import ArchiveError, BuiltArchive, build, read_description
from marserve.archive.export import export_network
from marserve.archive.package import BuildOptions
from marserve.archive.weights.download import PublishedFile
from marserve.archive.weights.files import WeightsFile, sha256_of
from marserve.archive.weights.locate import input_of
from marserve.handler.resnet18.description import Description
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.network import build_network
from marserve.paths import CONFIG, HANDLER, PACKAGE
from tests.support import report

BUILD = [sys.executable, "-m", "marserve", "build"]


def tiny(tmp_path: Path, **options: object) -> BuildOptions:
    """Three classes of SqueezeNet: the smallest archive that torchvision's architectures allow."""
    weights = tmp_path / "tiny.pth"
    if not weights.exists():
        torch.manual_seed(0)
        torch.save(build_network("squeezenet1_1", 3).state_dict(), weights)
        (tmp_path / "labels.txt").write_text("cat\ndog\nbird\n")
    defaults: dict[str, object] = {
        "architecture": "squeezenet1_1",
        "weights": str(weights),
        "labels": tmp_path / "labels.txt",
        "model_name": "tiny",
        "output": tmp_path / "store",
    }
    return BuildOptions(**{**defaults, **options})  # type: ignore[arg-type]


def names_in(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as mar:
        return mar.namelist()


def test_an_archive_holds_exactly_what_serving_needs(resnet18_archive: BuiltArchive) -> None:
    handler = HANDLER
    code = {str(file.relative_to(handler)) for file in handler.rglob("*.py")}
    assert set(names_in(resnet18_archive.path)) == code | {
        "MAR-INF/MANIFEST.json",
        "description.json",
        "index_to_name.json",
        "model-config.yaml",
        "network.xml",
        "network.bin",
        "network.safetensors",
    }


def test_the_manifest_names_handler_version_and_configuration(resnet18_archive: BuiltArchive) -> None:
    with zipfile.ZipFile(resnet18_archive.path) as mar:
        manifest = json.loads(mar.read("MAR-INF/MANIFEST.json"))
    assert manifest["model"] == {
        "configFile": "model-config.yaml",
        "handler": "resnet18_handler.py",
        "modelName": "resnet18",
        "modelVersion": "1.0",
    }


def test_the_description_says_what_is_inside(
    resnet18_archive: BuiltArchive, demonstration_archive: BuiltArchive
) -> None:
    untrained, trained = resnet18_archive.description, demonstration_archive.description
    assert read_description(resnet18_archive.path) == untrained
    assert (untrained.architecture, untrained.class_count, untrained.weights.trained) == ("resnet18", 1000, False)
    assert "untrained" in untrained.weights.source
    assert trained.weights.trained
    assert trained.normalization.std == (128 / 255,) * 3
    assert untrained.libraries.keys() == {"openvino", "torch", "torchvision"}


def test_equal_inputs_give_equal_bytes_in_any_process(tmp_path: Path) -> None:
    options = tiny(tmp_path)
    first = build(options, report=report).path.read_bytes()
    command = [
        *BUILD,
        "--arch",
        "squeezenet1_1",
        "--model-name",
        "tiny",
        "--force",
        "--json",
    ]
    command += ["--weights", str(options.weights), "--labels", str(options.labels), "--output", str(tmp_path / "other")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / "other" / "tiny.mar").read_bytes() == first
    result = json.loads(done.stdout)
    assert result["path"] == str(tmp_path / "other" / "tiny.mar")
    assert result["rebuilt"] is True
    assert Description.model_validate_json(json.dumps(result["description"])) == read_description(options.archive)


def test_an_archive_is_built_again_only_when_its_inputs_changed(tmp_path: Path) -> None:
    options = tiny(tmp_path)
    first = build(options, report=report)
    assert first.rebuilt
    written = options.archive.stat().st_mtime_ns
    assert not build(options, report=report).rebuilt
    assert options.archive.stat().st_mtime_ns == written
    assert build(options, force=True, report=report).rebuilt
    (tmp_path / "labels.txt").write_text("cat\ndog\nfish\n")
    changed = build(options, report=report)
    assert changed.rebuilt
    assert changed.description.labels_sha256 != first.description.labels_sha256
    assert build(tiny(tmp_path, precision="f32"), report=report).description.precision == "f32"
    options.archive.write_bytes(b"damaged")
    assert build(options, report=report).rebuilt


def test_the_digest_follows_the_code_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = tiny(tmp_path)
    here = building.inputs_digest(options, None, b"", b"", None)
    copy = tmp_path / "elsewhere"
    shutil.copytree(HANDLER, copy / "handler")
    shutil.copytree(PACKAGE / "archive", copy / "archive")
    monkeypatch.setattr(building, "HANDLER", copy / "handler")
    monkeypatch.setattr(building, "PACKAGE", copy)
    assert building.inputs_digest(options, None, b"", b"", None) == here
    (copy / "archive" / "export.py").write_text("changed")
    assert building.inputs_digest(options, None, b"", b"", None) != here


def test_the_precision_asked_for_reaches_the_handler_with_the_comments_kept(tmp_path: Path) -> None:
    built = build(tiny(tmp_path, precision="f32"), report=report)
    with zipfile.ZipFile(built.path) as mar:
        text = mar.read("model-config.yaml").decode()
    assert yaml.safe_load(text)["handler"]["precision"] == "f32"
    assert text.count("#") == (CONFIG / "model-config.yaml").read_text().count("#")


def test_two_builds_at_once_leave_one_good_archive(tmp_path: Path) -> None:
    options = tiny(tmp_path)
    failures = []

    command = [*BUILD, "--arch", "squeezenet1_1", "--model-name", "tiny", "--force"]
    command += ["--weights", str(options.weights), "--labels", str(options.labels), "--output", str(options.output)]

    def run() -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            failures.append(done.stderr)

    builds = [threading.Thread(target=run) for _ in range(2)]
    for one in builds:
        one.start()
    for one in builds:
        one.join()
    assert not failures
    assert [file.name for file in options.output.iterdir()] == ["tiny.mar"]
    assert not build(options, report=report).rebuilt


def test_published_weights_that_cannot_be_had_again_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without internet and cache, a changed setting must not turn a trained archive into an untrained one."""
    options = tiny(tmp_path)
    file = WeightsFile(Path(str(options.weights)), "torchvision weights", sha256_of(Path(str(options.weights))), True)
    offer = PublishedFile("", "", file.sha256 or "", file.source)
    monkeypatch.setattr(building, "published_files", lambda _architecture: [offer])
    monkeypatch.setattr(building, "locate_weights", lambda *_, **_report: file)
    first = build(tiny(tmp_path, weights=None), report=report)

    untrained = WeightsFile(None, "untrained", None, False)
    monkeypatch.setattr(building, "locate_weights", lambda *_, **_report: untrained)
    assert not build(tiny(tmp_path, weights=None), report=report).rebuilt
    second = build(tiny(tmp_path, weights=None, precision="f32"), report=report)
    assert second.rebuilt
    assert second.description.weights == first.description.weights
    assert second.description.class_count == 3


def test_the_same_names_in_another_form_leave_the_archive_as_it_is(tmp_path: Path) -> None:
    lines: list[str] = []
    assert build(tiny(tmp_path), report=lines.append).rebuilt
    table = tmp_path / "labels.csv"
    table.write_bytes("class_id;label\r\n2;bird\r\n0;cat\r\n1;dog\r\n".encode("utf-16"))
    second = build(tiny(tmp_path, labels=table), report=lines.append)
    assert not second.rebuilt
    assert [line for line in lines if line.startswith("Read ")] == [
        'Read 3 class names from labels.txt (text, one a line): "cat", "dog", "bird".',
        "Read 3 class names from labels.csv (table with a header, class_id and label, UTF-16-LE): "
        '"cat", "dog", "bird".',
    ]
    with zipfile.ZipFile(second.path) as mar:
        assert json.loads(mar.read("index_to_name.json")) == {"0": "cat", "1": "dog", "2": "bird"}


def test_labels_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    options = tiny(tmp_path)
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    with pytest.raises(ConfigurationError, match=r"3 classes but labels\.txt names 2"):
        build(options, report=report)
    assert not options.output.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_name": "../evil"}, "--model-name"),
        ({"model_name": ""}, "--model-name"),
        ({"version": "one"}, "--version"),
    ],
)
def test_impossible_names_are_refused(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        tiny(tmp_path, **options)


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Unknown architecture 'resnet19'"):
        build(tiny(tmp_path, architecture="resnet19"), report=report)


def test_a_wrong_model_config_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "model-config.yaml"
    config.write_text("batchSize: many\n")
    with pytest.raises(ConfigurationError, match="batchSize = 'many'"):
        build(tiny(tmp_path, model_config=config), report=report)
    config.write_text("batchSize: [\n")
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        build(tiny(tmp_path, model_config=config), report=report)


def test_an_archive_that_answers_wrongly_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is swapped for that of other weights, as a faulty export would give."""
    options = tiny(tmp_path)
    build(options, report=report)
    good = options.archive.read_bytes()
    export = export_network

    def export_other_weights(classifier: torch.nn.Module, crop_size: int, directory: Path) -> None:
        torch.manual_seed(1)
        network = classifier.get_submodule("network")
        kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network.load_state_dict(build_network("squeezenet1_1", 3).state_dict())
        export(classifier, crop_size, directory)
        network.load_state_dict(kept)

    monkeypatch.setattr(building, "export_network", export_other_weights)
    with pytest.raises(ArchiveError, match="differs from eager torch"):
        build(options, force=True, report=report)
    assert options.archive.read_bytes() == good
    assert [file.name for file in options.output.iterdir()] == ["tiny.mar"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("labels.py", None, r"No module named 'resnet18\.labels'"),
        ("engines/torch_engine.py", "\ndel TorchEngine\n", r"cannot import name 'TorchEngine' from 'resnet18\."),
    ],
    ids=["missing", "broken for GPUs"],
)
def test_the_check_does_not_use_the_repositorys_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str | None, reason: str
) -> None:
    """What is missing from the archive must be missed, however many copies lie elsewhere."""
    handler = tmp_path / "handler"
    shutil.copytree(HANDLER, handler, ignore=shutil.ignore_patterns("__pycache__"))
    damaged = handler / "resnet18" / file
    if content is None:
        damaged.unlink()
    else:
        damaged.write_text(damaged.read_text() + content)
    monkeypatch.setattr(building, "HANDLER", handler)
    with pytest.raises(ArchiveError, match=reason):
        build(tiny(tmp_path), report=report)


def test_a_failing_build_says_why_in_one_line_and_exits_with_1(tmp_path: Path) -> None:
    (tmp_path / "notes.pth").write_text("no weights")
    command = [*BUILD, "--weights", str(tmp_path / "notes.pth"), "--output", str(tmp_path / "store")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "notes.pth is in no known format" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("architecture", "resize", "crop", "interpolation"),
    [
        ("resnet18", 256, 224, "bilinear"),
        ("efficientnet_lite0", 256, 224, "bilinear"),
        ("inception_v3", 342, 299, "bilinear"),
        ("efficientnet_b0", 256, 224, "bicubic"),
        ("mnasnet0_5", 256, 224, "bilinear"),
    ],
)
def test_pictures_are_prepared_as_each_architecture_documents(
    architecture: str, resize: int, crop: int, interpolation: str
) -> None:
    preprocessing, _ = input_of(architecture)
    assert (preprocessing.resize_size, preprocessing.crop_size, preprocessing.interpolation) == (
        resize,
        crop,
        interpolation,
    )


def test_a_network_is_chosen_in_a_checkpoint_and_the_description_says_what_was_taken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, second = (build_network("squeezenet1_1", 3).state_dict() for _ in range(2))
    checkpoint = tmp_path / "run.ckpt"
    torch.save({"model": first, "model_ema": second, "epoch": 3}, checkpoint)
    tiny(tmp_path)
    with pytest.raises(ConfigurationError, match=r"holds 2 networks that fit squeezenet1_1: model, model_ema\."):
        build(tiny(tmp_path, weights=str(checkpoint)), report=report)
    archives = {}
    for key in ("model", "model_ema"):
        archives[key] = build(tiny(tmp_path, weights=str(checkpoint), weights_key=key), report=report)
        assert archives[key].rebuilt, "another network is another input"
    assert archives["model_ema"].description.weights.notes == (
        f"Taken: {len(second)} tensors under model_ema.",
        f"Ignored: model ({len(first)} tensors), epoch.",
    )
    assert not build(tiny(tmp_path, weights=str(checkpoint), weights_key="model_ema"), report=report).rebuilt


def test_a_folder_brings_class_names_and_the_preparation_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    tiny(tmp_path)
    shutil.move(tmp_path / "tiny.pth", folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({"id2label": {"0": "oak", "1": "elm", "2": "fir"}}))
    settings = {"size": {"shortest_edge": 240}, "crop_size": 224, "resample": 3, "image_mean": [0.5, 0.5, 0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    options = BuildOptions("squeezenet1_1", weights=str(folder), model_name="tiny", output=tmp_path / "store")
    built = build(options, report=report)
    with zipfile.ZipFile(built.path) as mar:
        assert list(json.loads(mar.read("index_to_name.json")).values()) == ["oak", "elm", "fir"]
    prepared = built.description.preprocessing
    assert (prepared.resize_size, prepared.crop_size, prepared.interpolation) == (240, 224, "bicubic")
    assert built.description.normalization.mean == (0.5, 0.5, 0.5)
    assert built.description.weights.source == "file pytorch_model.bin"
