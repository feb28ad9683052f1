"""The exported graph of an archive becomes int8, or the build ends: with the figures that say what it costs."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from marserve.archive.accuracy import objection
from marserve.archive.calibration import CalibrationPicture, calibration_digest, calibration_pictures, split_pictures
from marserve.archive.export import name_nodes
from marserve.archive.options import BuildOptions
from marserve.archive.quantization import PRESET, nncf_module, search
from marserve.errors import MarserveError
from marserve.handler.resnet18.description import Description, Preprocessing, Quantization
from marserve.handler.resnet18.engines.openvino_engine import GRAPH_FILE
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.labels import read_labels


def find_calibration(
    options: BuildOptions, precision: str, report: Callable[[str], None]
) -> list[CalibrationPicture] | None:
    """The pictures of ``--calibration``, None where it was not given; ConfigurationError where nobody needs them."""
    if options.calibration is None:
        return None
    if precision != "int8":
        raise ConfigurationError(f"--calibration goes with --precision int8; the precision is {precision}.")
    return calibration_pictures(options.calibration, read_labels(options.labels), report)


def quantization_inputs(files: list[CalibrationPicture] | None, current: Description | None) -> dict[str, str]:
    """What int8 depends on besides; for pictures not given and NNCF not installed, what ``current`` was built with."""
    earlier = current.quantization if current is not None else None
    try:
        nncf = metadata.version("nncf")
    except metadata.PackageNotFoundError:
        nncf = earlier.nncf if earlier is not None else ""
    if files is not None:
        pictures = calibration_digest(files)
    else:
        pictures = earlier.calibration_sha256 if earlier is not None else ""
    return {"nncf": nncf, "pictures": pictures}


class AccuracyError(MarserveError):
    """int8 changes too many answers; nothing was written."""


def quantize_export(
    directory: Path,
    files: list[CalibrationPicture],
    preprocessing: Preprocessing,
    *,
    trained: bool,
    accept_accuracy_loss: bool,
    report: Callable[[str], None],
) -> Quantization:
    """Replace the f32 graph in ``directory`` by one in int8 that takes and answers the same.

    Raises AccuracyError where the pictures kept apart show that it costs too much, unless that is accepted. Random
    weights are never refused: their best classes lie so close together that any rounding changes the first one, and
    their answers mean nothing either way.
    """
    import openvino

    nncf_module()  # missing, it should be missed before the work
    calibration, judging = split_pictures(files, preprocessing, report)
    report(f"Quantizing to int8 with {len(calibration)} pictures ...")
    graph = openvino.Core().read_model(directory / GRAPH_FILE)
    found = search(graph, calibration, judging, report, until_it_agrees=trained)
    accuracy = found.accuracy
    problem = objection(accuracy)
    if problem is not None and not trained:
        report("  The weights are random, so their answers mean nothing and are not held against int8.")
    elif problem is not None and accept_accuracy_loss:
        report(f"  Accepted, as requested: {problem}.")
    elif problem is not None:
        raise AccuracyError(
            f"{problem}. Calibrate with more pictures, or with pictures more like those to be classified; or accept it "
            "with --accept-accuracy-loss; or use --precision bf16."
        )
    name_nodes(found.graph)
    # Beside the graph that was read, whose weights are mapped from its file, and then in its place.
    openvino.save_model(found.graph, directory / f"int8-{GRAPH_FILE}", compress_to_fp16=False)
    for suffix in (".xml", ".bin"):
        target = (directory / GRAPH_FILE).with_suffix(suffix)
        (directory / f"int8-{target.name}").replace(target)
    return Quantization(
        preset=PRESET,
        bias_correction=found.plan.bias_correction,
        excluded_layers=found.plan.excluded_layers,
        plans_tried=found.plans_tried,
        calibration_pictures=len(calibration),
        calibration_sha256=calibration_digest(files),
        judged_pictures=accuracy.judged_pictures,
        agreement=accuracy.agreement,
        labelled_pictures=accuracy.labelled_pictures,
        top1_f32=accuracy.top1_f32,
        top1_int8=accuracy.top1_int8,
        accuracy_loss_accepted=problem is not None and trained,
        nncf=metadata.version("nncf"),
    )
