"""The ports of one stack, from the environment; MARSERVE_WEB_PORT also names the stack."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from marserve.errors import MarserveError
from marserve.system.loopback import free_ports, is_free
from marserve.variables import origin, variable

#: Those that must be free; gRPC's give way when taken.
SERVICES = ("inference_port", "management_port", "metrics_port", "web_port")


def ports_of(only: str | None) -> tuple[str, ...]:
    """``SERVICES`` of the whole stack, or of the half that ``only`` names."""
    web = tuple(name for name in SERVICES if name == "web_port")
    return {"web": web, "torchserve": tuple(name for name in SERVICES if name not in web)}.get(only or "", SERVICES)


@dataclass(frozen=True)
class Ports:
    """Each field has an environment variable that sets it, such as MARSERVE_WEB_PORT."""

    web_port: int = 5000
    inference_port: int = 8080
    management_port: int = 8081
    metrics_port: int = 8082
    grpc_inference_port: int = 7070
    grpc_management_port: int = 7071

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Ports:
        """Read the variables. Raises MarserveError for a value that is no port, and for one port given twice."""
        ports = cls(**{field.name: _port(variable(field.name), environ, field.default) for field in fields(cls)})
        names: dict[int, str] = {}
        for field in fields(cls):
            name, number = variable(field.name), getattr(ports, field.name)
            if number in names:
                raise PortError(f"{names[number]} and {name} are both {number}: give each its own port.")
            names[number] = name
        return ports


class PortError(MarserveError):
    """A variable that is no port of its own."""

    exit_status = 2


class PortsTakenError(MarserveError):
    """Something else listens on some of the ports."""

    def __init__(self, taken: Mapping[str, int]) -> None:
        super().__init__("\n".join(f"Port {port} ({name}) is taken." for name, port in taken.items()))
        #: Other ports that can be had, by the variables that set them.
        self.others = dict(zip(taken, map(str, free_ports(len(taken))), strict=True))


def check_free(ports: Ports, names: Sequence[str]) -> None:
    """Raise PortsTakenError where a port of the fields ``names`` is taken."""
    taken = {variable(name): getattr(ports, name) for name in names if not is_free(getattr(ports, name))}
    if taken:
        raise PortsTakenError(taken)


def with_free_grpc_ports(ports: Ports, environ: Mapping[str, str] = os.environ) -> Ports:
    """gRPC is always on though nothing here uses it, so its default ports give way; ones given by name do not."""
    names = ("grpc_inference_port", "grpc_management_port")
    check_free(ports, [name for name in names if variable(name) in environ])
    taken = [name for name in names if not is_free(getattr(ports, name))]
    return replace(ports, **dict(zip(taken, free_ports(len(taken)), strict=True)))


def _port(name: str, environ: Mapping[str, str], default: object) -> int:
    text = environ.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise PortError(f"{origin(name)}={text} is not a port: give a number from 1 to 65535.")
    return int(text)
