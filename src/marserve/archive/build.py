"""From weights to a checked archive, in one atomic step."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import ValidationError

from marserve.archive import verify
from marserve.archive.answers import answer
from marserve.archive.calibration import LEAST_PICTURES
from marserve.archive.export import export_network
from marserve.archive.inputs import inputs_digest, library_versions
from marserve.archive.int8 import find_calibration, quantization_inputs, quantize_export
from marserve.archive.options import BuildOptions
from marserve.archive.package import package
from marserve.archive.weights import WeightsFile, load_state_dict, locate_weights
from marserve.archive.weights.published import input_of, mirror_file, official_file
from marserve.handler.resnet18.description import DESCRIPTION_FILE, Description, Preprocessing, WeightsOrigin
from marserve.handler.resnet18.engines.openvino_engine import GRAPH_FILE
from marserve.handler.resnet18.engines.torch_engine import WEIGHTS_FILE
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.labels import LABELS_FILE, check_label_count, read_labels
from marserve.handler.resnet18.network import as_classifier, build_network, find_pooled_head
from marserve.handler.resnet18.settings import parse_model_config
from marserve.paths import EXAMPLE_PICTURE, HANDLER
from marserve.system.files import replace_by_copy

if TYPE_CHECKING:
    import torch

Report = Callable[[str], None]


class ArchiveError(Exception):
    """An archive that was built but does not work; nothing was written."""


@dataclass(frozen=True)
class BuiltArchive:
    """The archive asked for; ``rebuilt`` is false where the one at hand was up to date."""

    path: Path
    rebuilt: bool
    description: Description


def build(options: BuildOptions, *, force: bool = False, report: Report) -> BuiltArchive:
    """Build the archive unless the one at hand was made from the same inputs; ``report`` gets one line a step.

    Raises ConfigurationError for inputs that do not fit together, ArchiveError where the result fails its check.
    """
    with tempfile.TemporaryDirectory(prefix="archive-") as scratch:
        return _build(options, force, report, Path(scratch))


def read_description(archive: Path) -> Description | None:
    """The description inside an archive file; None where there is no file, or none that this version understands."""
    try:
        with zipfile.ZipFile(archive) as mar:
            return Description.model_validate_json(mar.read(DESCRIPTION_FILE))
    except (OSError, zipfile.BadZipFile, KeyError, ValidationError):
        return None


def _build(options: BuildOptions, force: bool, report: Report, scratch: Path) -> BuiltArchive:
    current = read_description(options.archive)
    weights = locate_weights(options.architecture, options.weights, report=report)
    if options.weights is None and not weights.trained and current is not None:
        weights = _keep_published_weights(options, current, scratch, report) or weights
    model_config = _model_config(options)
    labels = _canonical_labels(options.labels)
    precision = parse_model_config(yaml.safe_load(model_config)).handler.precision
    calibration = find_calibration(options, precision, report)
    int8_inputs = quantization_inputs(calibration, current) if precision == "int8" else None
    digest = inputs_digest(options, weights.sha256, model_config, labels, int8_inputs)
    if current is not None and current.inputs_sha256 == digest and not force:
        return BuiltArchive(options.archive, False, current)
    if precision == "int8" and calibration is None:
        raise ConfigurationError(
            f"{options.archive.name} must be built as int8: give --calibration DIR, a folder of {LEAST_PICTURES} or "
            "more pictures like those to be classified."
        )

    report(f"Building {options.archive.name}: {options.architecture} with weights from {weights.source} ...")
    loaded = load_state_dict(weights, options.architecture)
    check_label_count(read_labels(options.labels), loaded.class_count, options.labels)
    preprocessing, normalization = input_of(options.architecture)
    network = build_network(options.architecture, loaded.class_count)
    network.load_state_dict(loaded.state_dict)
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
        class_count=loaded.class_count,
        precision=precision,
        quantization=quantization,
        weights=WeightsOrigin(source=weights.source, sha256=weights.sha256, trained=weights.trained),
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
    _verify(packed, classifier, preprocessing, scratch, contents if quantization is not None else None)
    options.archive.parent.mkdir(parents=True, exist_ok=True)
    replace_by_copy(options.archive, packed, mode=0o644)
    return BuiltArchive(options.archive, True, description)


def _keep_published_weights(
    options: BuildOptions, current: Description, scratch: Path, report: Report
) -> WeightsFile | None:
    """The weights inside the archive at hand, where those are the published ones that could not be had again."""
    offers = [official_file(options.architecture), mirror_file(options.architecture)]
    digests = tuple(offer.sha256 for offer in offers if offer is not None)  # of some only the first digits are known
    if current.architecture != options.architecture or not (current.weights.sha256 or "").startswith(digests):
        return None
    report(f"Using the weights inside the present {options.archive.name}: {current.weights.source}.")
    with zipfile.ZipFile(options.archive) as mar:
        path = Path(mar.extract(WEIGHTS_FILE, scratch))
    return WeightsFile(path, current.weights.source, current.weights.sha256, trained=True)


def _model_config(options: BuildOptions) -> bytes:
    """model-config.yaml with the precision asked for, its comments kept; checked."""
    text = options.model_config.read_text(encoding="utf-8")
    if options.precision is not None:
        text, replaced = re.subn(r"(?m)^(\s+precision:).*$", rf"\1 {options.precision}", text)
        if replaced != 1:
            raise ConfigurationError(
                f"{options.model_config.name} needs one line 'precision: auto' in its handler section for --precision."
            )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigurationError(f"{options.model_config.name} is not valid YAML: {exc}") from exc
    parse_model_config(content)
    return text.encode()


def _canonical_labels(file: Path) -> bytes:
    """The labels in the form that TorchServe's own handlers read as well: {"0": ["n01440764", "tench"], ...}."""
    labels = read_labels(file)
    content = {str(i): label.name if label.wnid is None else [label.wnid, label.name] for i, label in enumerate(labels)}
    return json.dumps(content, ensure_ascii=False, indent=0).encode()


def _verify(
    packed: Path, classifier: torch.nn.Module, preprocessing: Preprocessing, scratch: Path, quantized: Path | None
) -> None:
    """Compare the archive's answer, in an isolated process, with that of ``classifier`` here.

    An archive in int8 may differ from it by as much as was judged acceptable; it is compared with its own graph, in
    directory ``quantized``, and what it carries for GPUs with ``classifier``.
    """
    import numpy as np
    import torch
    from PIL import Image

    # A PNG that needs no resizing, only the crop: every decoder gets the same pixels from it, so that it is the network
    # that is compared.
    side, crop = preprocessing.resize_size, preprocessing.crop_size
    with Image.open(EXAMPLE_PICTURE) as example:
        picture = example.convert("RGB").resize((side, side))
    picture.save(scratch / "picture.png")
    margin = round((side - crop) / 2)
    pixels = np.array(picture)[margin : margin + crop, margin : margin + crop]
    with torch.inference_mode():
        expected = classifier(torch.from_numpy(pixels)[None])[0][0].numpy()
    served = expected if quantized is None else answer(quantized / GRAPH_FILE, pixels[None])[0]
    np.savez(scratch / "expected.npz", torch=expected, served=served)
    command = [sys.executable, "-I", verify.__file__, str(packed), "picture.png", "expected.npz"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines() or ["it ended without a message"]
        raise ArchiveError(f"The archive fails its check, and was not written. {reason[-1]}")
