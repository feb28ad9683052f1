"""From weights to a checked archive, in one atomic step."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import cast

import yaml
from pydantic import ValidationError

from marserve.archive.calibration import LEAST_PICTURES
from marserve.archive.export import export_network
from marserve.archive.int8 import find_calibration, quantization_inputs, quantize_export
from marserve.archive.labels.read import IMAGENET, read_class_names
from marserve.archive.package import BuildOptions, package, read_model_config
from marserve.archive.verify import find_fault
from marserve.archive.weights.beside import beside_sha256, class_names_beside, input_beside
from marserve.archive.weights.files import WeightsFile
from marserve.archive.weights.locate import input_of, locate_weights, published_files
from marserve.archive.weights.state_dict import load_state_dict
from marserve.errors import MarserveError
from marserve.handler.resnet18.description import DESCRIPTION_FILE, Description, WeightsOrigin
from marserve.handler.resnet18.engines.torch_engine import WEIGHTS_FILE
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.labels import LABELS_FILE, check_label_count
from marserve.handler.resnet18.network import as_classifier, build_network, find_pooled_head
from marserve.handler.resnet18.settings import parse_model_config
from marserve.paths import HANDLER, PACKAGE
from marserve.system.files import replacing
from marserve.terminal import Report

#: Libraries whose version changes what is exported.
LIBRARIES = ("openvino", "torch", "torchvision")


class ArchiveError(MarserveError):
    """An archive that was built but does not work; nothing was written."""


@dataclass(frozen=True)
class BuiltArchive:
    """The requested archive; ``rebuilt`` is false where the one at hand was up to date."""

    path: Path
    rebuilt: bool
    description: Description


def build(options: BuildOptions, *, force: bool = False, report: Report) -> BuiltArchive:
    """Build the archive unless the one at hand was made from the same inputs; ``report`` gets one line a step.

    Raises ConfigurationError for inputs that do not fit together, ArchiveError where the result fails its check.
    """
    with tempfile.TemporaryDirectory(prefix="archive-") as scratch:
        return cast("BuiltArchive", _build(options, force, report, Path(scratch), check=False))


def check_build(options: BuildOptions, *, force: bool = False, report: Report) -> BuiltArchive | WeightsOrigin:
    """The archive at hand where ``build`` would keep it, else the weights of the one that it would make.

    Nothing is written or downloaded. Raises ConfigurationError.
    """
    with tempfile.TemporaryDirectory(prefix="archive-") as scratch:
        return _build(options, force, report, Path(scratch), check=True)


def read_description(archive: Path) -> Description | None:
    """The description inside an archive file; None where there is no file, or none that this version understands."""
    try:
        with zipfile.ZipFile(archive) as mar:
            return Description.model_validate_json(mar.read(DESCRIPTION_FILE))
    except (OSError, zipfile.BadZipFile, KeyError, ValidationError):
        return None


def _build(
    options: BuildOptions, force: bool, report: Report, scratch: Path, *, check: bool
) -> BuiltArchive | WeightsOrigin:
    current = read_description(options.archive)
    model_config = read_model_config(options)
    labels_file = options.labels
    if labels_file == IMAGENET and options.weights is not None:
        labels_file = class_names_beside(Path(options.weights)) or labels_file
    class_names = read_class_names(labels_file)
    if labels_file != IMAGENET:
        report(class_names.account)
    labels = class_names.canonical()
    precision = parse_model_config(yaml.safe_load(model_config)).handler.precision
    calibration = find_calibration(options, precision, class_names.labels, report)
    lacks_pictures = precision == "int8" and calibration is None
    if lacks_pictures and (current is None or current.precision != precision):
        raise _no_pictures(options)  # before weights are downloaded
    weights = locate_weights(options.architecture, options.weights, report=report, download=not check)
    if options.weights is None and not weights.trained and current is not None:
        weights = _keep_published_weights(options, current, scratch, report) or weights
    int8_inputs = quantization_inputs(calibration, current) if precision == "int8" else None
    chosen = weights.path if options.weights is not None else None
    weights_inputs = weights.sha256 if chosen is None else f"{weights.sha256} {beside_sha256(chosen)}"
    digest = inputs_digest(options, weights_inputs, model_config, labels, int8_inputs)
    if current is not None and current.inputs_sha256 == digest and not force:
        return BuiltArchive(options.archive, False, current)
    if lacks_pictures:
        raise _no_pictures(options)
    origin = WeightsOrigin(source=weights.source, sha256=weights.sha256, trained=weights.trained)
    if check:
        return origin

    report(f"Building {options.archive.name}: {options.architecture} with weights from {weights.source} ...")
    notes: list[str] = []
    state_dict, class_count = load_state_dict(weights, options.architecture, options.weights_key, report=notes.append)
    check_label_count(class_names.labels, class_count, labels_file)
    preprocessing, normalization = input_of(options.architecture)
    if chosen is not None:
        (preprocessing, normalization), line = input_beside(chosen, (preprocessing, normalization))
        notes += [line] if line is not None else []
    for line in notes:
        report(line)
    network = build_network(options.architecture, class_count)
    network.load_state_dict(state_dict)
    head = find_pooled_head(network, preprocessing.crop_size)
    classifier = as_classifier(network, normalization, head)
    contents = scratch / "contents"
    shutil.copytree(HANDLER, contents, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    export_network(classifier, preprocessing.crop_size, contents)
    quantization = None
    if calibration is not None:
        quantization = quantize_export(
            contents,
            calibration,
            preprocessing,
            trained=weights.trained,
            accept_accuracy_loss=options.accept_accuracy_loss,
            report=report,
        )
    description = Description(
        model=options.model_name,
        version=options.version,
        architecture=options.architecture,
        class_count=class_count,
        precision=precision,
        quantization=quantization,
        weights=origin.model_copy(update={"notes": tuple(notes)}),
        preprocessing=preprocessing,
        normalization=normalization,
        head=head,
        labels_sha256=hashlib.sha256(labels).hexdigest(),
        libraries=library_versions(),
        inputs_sha256=digest,
    )
    handler = Path(shutil.move(contents / "resnet18_handler.py", scratch))
    (contents / LABELS_FILE).write_bytes(labels)
    (contents / DESCRIPTION_FILE).write_text(description.model_dump_json(indent=2), encoding="utf-8")
    config = scratch / "model-config.yaml"
    config.write_bytes(model_config)
    packed = scratch / "packed.mar"
    package(contents, handler, config, options.model_name, options.version, packed)
    report("Checking the archive in a process of its own ...")
    fault = find_fault(packed, classifier, preprocessing, scratch, contents if quantization is not None else None)
    if fault is not None:
        raise ArchiveError(f"The archive fails its check, and was not written. {fault}")
    options.archive.parent.mkdir(parents=True, exist_ok=True)
    with replacing(options.archive, mode=0o644) as file, packed.open("rb") as content:
        shutil.copyfileobj(content, file)  # it may lie on another file system
    return BuiltArchive(options.archive, True, description)


def _no_pictures(options: BuildOptions) -> ConfigurationError:
    return ConfigurationError(
        f"{options.archive.name} must be built as int8: give --calibration DIR, a folder of {LEAST_PICTURES} or more "
        "pictures like those to be classified."
    )


def _keep_published_weights(
    options: BuildOptions, current: Description, scratch: Path, report: Report
) -> WeightsFile | None:
    """The weights inside the archive at hand, where those are the published ones that could not be had again."""
    # Of some only the first digits are known.
    digests = tuple(offer.sha256 for offer in published_files(options.architecture))
    if current.architecture != options.architecture or not (current.weights.sha256 or "").startswith(digests):
        return None
    report(f"Using the weights inside the present {options.archive.name}: {current.weights.source}.")
    with zipfile.ZipFile(options.archive) as mar:
        path = Path(mar.extract(WEIGHTS_FILE, scratch))
    return WeightsFile(path, current.weights.source, current.weights.sha256, trained=True)


def library_versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in LIBRARIES}


def inputs_digest(
    options: BuildOptions,
    weights: str | None,
    model_config: bytes,
    labels: bytes,
    quantization: dict[str, str] | None,
) -> str:
    """SHA-256 over the code, the configuration, the labels, the weights and the versions that make an archive.

    ``weights`` stands for them and for what lies beside them; ``quantization`` holds what only int8 depends on.
    """
    digest = hashlib.sha256()
    parts = {
        "options": [options.architecture, options.model_name, options.version, options.weights_key],
        "libraries": library_versions(),
        "weights": weights,
        "quantization": quantization,
    }
    digest.update(json.dumps(parts, sort_keys=True).encode())
    for content in (model_config, labels):
        digest.update(hashlib.sha256(content).digest())
    for directory in (HANDLER, PACKAGE / "archive"):
        for file in sorted(directory.rglob("*.py")):
            digest.update(f"{directory.name}/{file.relative_to(directory)}".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
