"""BYTES tensors in the protocol's binary form, and the other types that are answered."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from marserve.web.errors import InvalidRequest

LENGTH = struct.Struct("<I")


def split_bytes_tensor(data: memoryview, count: int) -> list[bytes]:
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
        elements.append(bytes(data[offset : offset + length]))
        offset += length
    if offset != len(data):
        raise InvalidRequest("The binary tensor goes on after its last element: check its shape and binary_data_size.")
    return elements


def to_binary(datatype: str, values: Sequence[float] | Sequence[str]) -> bytes:
    """``values`` of FP32, INT64 or BYTES in the protocol's binary form."""
    if datatype == "BYTES":
        encoded = [str(value).encode() for value in values]
        return b"".join(LENGTH.pack(len(element)) + element for element in encoded)
    return struct.pack(f"<{len(values)}{'f' if datatype == 'FP32' else 'q'}", *values)
