"""Ports from the environment, and whether they can be had."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from marserve.errors import MarserveError
from marserve.stack.ports import Ports, PortsTakenError, check_free, with_free_grpc_ports
from marserve.system.loopback import LOOPBACK, free_ports, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something listens."""
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def test_variables_override_the_defaults() -> None:
    assert Ports.from_environment({}) == Ports()
    assert Ports.from_environment({"MARSERVE_WEB_PORT": "6000", "OTHER": "x"}) == Ports(web_port=6000)


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "65536", "80.5", "８０８０", " 80"])
def test_what_is_no_port_is_refused_by_name(text: str) -> None:
    with pytest.raises(MarserveError, match=r"^MARSERVE_METRICS_PORT=.* is not a port: give a number from 1 to 65535"):
        Ports.from_environment({"MARSERVE_METRICS_PORT": text})


def test_one_port_given_twice_is_refused_with_both_names() -> None:
    with pytest.raises(MarserveError, match="MARSERVE_INFERENCE_PORT and MARSERVE_MANAGEMENT_PORT are both 9000"):
        Ports.from_environment({"MARSERVE_INFERENCE_PORT": "9000", "MARSERVE_MANAGEMENT_PORT": "9000"})


def test_a_taken_port_is_named_with_another_to_use(taken: int) -> None:
    with pytest.raises(PortsTakenError) as refused:
        check_free(Ports(inference_port=taken), ["inference_port"])
    assert str(refused.value) == f"Port {taken} (MARSERVE_INFERENCE_PORT) is taken."
    assert is_free(int(refused.value.others["MARSERVE_INFERENCE_PORT"]))


def test_a_taken_grpc_port_gives_way_unless_it_was_asked_for(taken: int) -> None:
    spare = free_ports(1)[0]
    ports = Ports(grpc_inference_port=taken, grpc_management_port=spare)
    given = with_free_grpc_ports(ports, {})
    assert is_free(given.grpc_inference_port)
    assert given.grpc_management_port == spare
    with pytest.raises(MarserveError, match="MARSERVE_GRPC_INFERENCE_PORT"):
        with_free_grpc_ports(ports, {"MARSERVE_GRPC_INFERENCE_PORT": str(taken)})
