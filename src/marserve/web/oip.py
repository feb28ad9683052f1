"""The Open Inference Protocol, version 2, as Triton and KServe speak it: tensors in, tensors out."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marserve.handler.resnet18.encodings import Encoded, decode_base64, from_text, read_json
from marserve.handler.resnet18.errors import InvalidParameter, InvalidRequest
from marserve.handler.resnet18.requests import MAX_TOP_K
from marserve.web.models import KnownModel
from marserve.web.schemas import HandlerAnswer

INPUT = "image"
PROBABILITIES = "probabilities"
CLASS_ID = "class_id"
LABEL = "label"
OUTPUTS = (PROBABILITIES, CLASS_ID, LABEL)
#: Pictures of one request.
MAX_PICTURES = 32
DEFAULT_TOP_K = 5
#: Of a length; Python converts no more than 4300 of them.
DIGITS = re.compile(r"[0-9]{1,12}")
#: Before each element of a BYTES tensor in binary form: its length.
LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class RequestedTensor:
    name: str
    #: Whether it comes after the JSON, in binary form.
    is_binary: bool
    #: The classification extension: so many of the most probable classes as "probability:class_id:label"; 0: plain.
    classification: int = 0


@dataclass(frozen=True)
class InferenceRequest:
    id: str | None
    pictures: list[bytes]
    outputs: list[RequestedTensor]
    #: Width of ``class_id`` and ``label``.
    top_k: int


def parse_inference_request(body: Encoded, header_length: str | None) -> InferenceRequest:
    """Read a request; ``header_length`` is that of its JSON where binary tensors follow.

    Raises InvalidRequest or InvalidParameter.
    """
    length = len(body)
    if header_length is not None:
        if not DIGITS.fullmatch(header_length) or int(header_length) > len(body):
            raise InvalidRequest("Inference-Header-Content-Length must be the length of the JSON before the tensors.")
        length = int(header_length)
    content = read_json(body[:length])
    if not isinstance(content, dict):
        raise InvalidRequest("The request must be a JSON object.")
    parameters = _object(content, "parameters")
    request_id = content.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidRequest('"id" must be a string.')
    return InferenceRequest(
        id=request_id,
        pictures=_read_pictures(content.get("inputs"), memoryview(body)[length:]),
        outputs=_read_outputs(content.get("outputs"), is_binary=parameters.get("binary_data_output") is True),
        top_k=_read_count(parameters, "top_k", DEFAULT_TOP_K),
    )


def _read_pictures(inputs: object, binary: memoryview) -> list[bytes]:
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InvalidRequest(f'"inputs" must be a list with one tensor, "{INPUT}".')
    tensor: dict[str, Any] = inputs[0]
    if tensor.get("name") != INPUT or tensor.get("datatype") != "BYTES":
        raise InvalidRequest(f'The input must have the name "{INPUT}" and the datatype "BYTES".')
    shape = tensor.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) not in {1, 2}
        or not all(type(size) is int for size in shape)
        or shape[1:] not in ([], [1])
        or not 1 <= shape[0] <= MAX_PICTURES
    ):
        raise InvalidRequest(f"The input's shape must be [N] or [N, 1], N being 1 to {MAX_PICTURES} pictures.")
    size = _object(tensor, "parameters").get("binary_data_size")
    if size is None:
        return _decode(tensor.get("data"), shape[0])
    if type(size) is not int or size != len(binary):
        raise InvalidRequest("binary_data_size must be the number of bytes after the JSON.")
    return _split_bytes_tensor(binary, shape[0])


def _decode(data: object, count: int) -> list[bytes]:
    """Pictures in JSON are base64, since its strings cannot hold arbitrary bytes."""
    elements = data if isinstance(data, list) else []
    # Nested as the shape is, or flat: the protocol allows both.
    elements = [element[0] if isinstance(element, list) and len(element) == 1 else element for element in elements]
    if len(elements) != count or not all(isinstance(element, str) for element in elements):
        raise InvalidRequest(f'"data" must be a list of {count} strings: each a picture in base64.')
    return [bytes(decode_base64(element, f'Element {index} of "data"')) for index, element in enumerate(elements)]


def _read_outputs(outputs: object, *, is_binary: bool) -> list[RequestedTensor]:
    if outputs is None or outputs == []:
        return [RequestedTensor(name, is_binary) for name in OUTPUTS]
    if not isinstance(outputs, list):
        raise InvalidRequest('"outputs" must be a list.')
    return [_read_output(output, is_binary) for output in outputs]


def _read_output(output: object, is_binary: bool) -> RequestedTensor:
    if not isinstance(output, dict) or output.get("name") not in OUTPUTS:
        raise InvalidRequest(f"The outputs are {', '.join(OUTPUTS)}.")
    parameters = _object(output, "parameters")
    classification = _read_count(parameters, "classification", 0)
    if classification and output["name"] != PROBABILITIES:
        raise InvalidParameter(f'Only "{PROBABILITIES}" takes a classification (class_count).')
    return RequestedTensor(output["name"], parameters.get("binary_data", is_binary) is True, classification)


def _read_count(parameters: dict[str, Any], name: str, default: int) -> int:
    value = parameters.get(name)
    if value is None:
        return default
    if type(value) is not int or not 1 <= value <= MAX_TOP_K:
        raise InvalidParameter(f"{name} must be a whole number from 1 to {MAX_TOP_K}.")
    return value


def _object(content: dict[str, Any], name: str) -> dict[str, Any]:
    value = content.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f'"{name}" must be an object.')
    return value


def needed_top_k(request: InferenceRequest, class_count: int) -> int:
    """How many classes of each picture the outputs need: all of them only for the plain probabilities."""
    needs = [
        (output.classification or class_count) if output.name == PROBABILITIES else request.top_k
        for output in request.outputs
    ]
    return min(max(needs), class_count)


def encode_response(
    request: InferenceRequest, answers: Sequence[HandlerAnswer], *, served: KnownModel, class_count: int
) -> tuple[bytes, int | None]:
    """The body of the response to ``request`` by ``served``, and the length of its JSON where tensors follow it."""
    tensors = [_tensor(output, request.top_k, answers, class_count) for output in request.outputs]
    content: dict[str, Any] = {"model_name": served.name, "model_version": served.version, "outputs": []}
    if served.weights == "untrained":
        content["parameters"] = {"weights": "untrained"}
    if request.id is not None:
        content["id"] = request.id
    binary = []
    for output, (datatype, rows) in zip(request.outputs, tensors, strict=True):
        values = [value for row in rows for value in row]
        tensor: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": [len(rows), len(rows[0])]}
        if output.is_binary:
            binary.append(_to_binary(datatype, values))
            tensor["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            tensor["data"] = values
        content["outputs"].append(tensor)
    header = json.dumps(content, separators=(",", ":")).encode()
    return b"".join([header, *binary]), len(header) if binary else None


def _tensor(
    output: RequestedTensor, top_k: int, answers: Sequence[HandlerAnswer], class_count: int
) -> tuple[str, list[list[Any]]]:
    """Datatype and rows, one a picture."""
    predictions = [answer.predictions for answer in answers]
    if output.classification:
        return "BYTES", [
            [f"{entry.probability:f}:{entry.class_id}:{entry.label}" for entry in row[: output.classification]]
            for row in predictions
        ]
    if output.name == CLASS_ID:
        return "INT64", [[entry.class_id for entry in row[:top_k]] for row in predictions]
    if output.name == LABEL:
        return "BYTES", [[entry.label for entry in row[:top_k]] for row in predictions]
    rows = []
    for row in predictions:
        probabilities = [0.0] * class_count
        for entry in row:
            probabilities[entry.class_id] = entry.probability
        rows.append(probabilities)
    return "FP32", rows


def _split_bytes_tensor(data: memoryview, count: int) -> list[bytes]:
    """The ``count`` elements of a BYTES tensor, each a 32-bit little-endian length and so many bytes.

    Raises InvalidRequest where ``data`` is not exactly that.
    """
    elements = []
    offset = 0
    for _ in range(count):
        if offset + LENGTH.size > len(data):
            raise InvalidRequest(
                "The binary tensor ends before its last element: check its shape and binary_data_size."
            )
        (length,) = LENGTH.unpack_from(data, offset)
        offset += LENGTH.size
        if offset + length > len(data):
            raise InvalidRequest("An element of the binary tensor is longer than the tensor: check binary_data_size.")
        elements.append(bytes(from_text(bytes(data[offset : offset + length]), "An element of the binary tensor")))
        offset += length
    if offset != len(data):
        raise InvalidRequest("The binary tensor goes on after its last element: check its shape and binary_data_size.")
    return elements


def _to_binary(datatype: str, values: Sequence[float] | Sequence[str]) -> bytes:
    """``values`` of FP32, INT64 or BYTES in the protocol's binary form."""
    if datatype == "BYTES":
        encoded = [str(value).encode() for value in values]
        return b"".join(LENGTH.pack(len(element)) + element for element in encoded)
    return struct.pack(f"<{len(values)}{'f' if datatype == 'FP32' else 'q'}", *values)
