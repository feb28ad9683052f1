"""The ports of one stack, from the environment; WEB_PORT also names the stack."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from marserve.errors import MarserveError
from marserve.system.ports import free_ports, is_free


@dataclass(frozen=True)
class Ports:
    """Each field is also the environment variable that sets it, in capitals."""

    web_port: int = 5000
    inference_port: int = 8080
    management_port: int = 8081
    metrics_port: int = 8082
    grpc_inference_port: int = 7070
    grpc_management_port: int = 7071

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Ports:
        """Read the variables. Raises MarserveError for a value that is no port, and for one port given twice."""
        ports = cls(**{field.name: _port(field.name.upper(), environ, field.default) for field in fields(cls)})
        variable_of: dict[int, str] = {}
        for field in fields(cls):
            variable, number = field.name.upper(), getattr(ports, field.name)
            if number in variable_of:
                raise MarserveError(f"{variable_of[number]} and {variable} are both {number}: give each its own port.")
            variable_of[number] = variable
        return ports


def check_free(ports: Ports, names: Sequence[str]) -> None:
    """Raise MarserveError that names each of the fields ``names`` whose port is taken, and what to do."""
    taken = [name for name in names if not is_free(getattr(ports, name))]
    if taken:
        lines = [f"Port {getattr(ports, name)} ({name.upper()}) is taken." for name in taken]
        others = zip(taken, free_ports(len(taken)), strict=True)
        example = " ".join(f"{name.upper()}={port}" for name, port in others)
        lines.append(f"Stop what listens there, or choose other ports: {example} ./scripts/serve")
        raise MarserveError("\n".join(lines))


def with_free_grpc_ports(ports: Ports, environ: Mapping[str, str] = os.environ) -> Ports:
    """gRPC is always on though nothing here uses it, so its default ports give way; ones asked for by name do not."""
    names = ("grpc_inference_port", "grpc_management_port")
    check_free(ports, [name for name in names if name.upper() in environ])
    taken = [name for name in names if not is_free(getattr(ports, name))]
    return replace(ports, **dict(zip(taken, free_ports(len(taken)), strict=True)))


def _port(variable: str, environ: Mapping[str, str], default: object) -> int:
    text = environ.get(variable, str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise MarserveError(f"{variable}={text} is not a port: give a number from 1 to 65535.")
    return int(text)
