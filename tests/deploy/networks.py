"""Hosts on one machine: network namespaces behind a switch, whose cables can be cut: root, and the program ip."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from marserve.system.waiting import wait_until

#: Begins the names of all that is made; a process id follows, and a number of that process.
PREFIX = "marserve-"
NUMBERS = itertools.count()
#: Seconds for processes that were killed to be gone.
GONE_S = 10.0


@dataclass(frozen=True)
class Network:
    """``here`` is this machine's own address in it, ``addresses`` are those of its hosts."""

    here: str
    addresses: tuple[str, ...]
    #: Namespaces of the hosts, in the same order.
    namespaces: tuple[str, ...]
    switch: str

    def processes(self, host: int) -> list[psutil.Process]:
        """All that runs on a host."""
        pids = ip("netns", "pids", self.namespaces[host]).split()
        return [psutil.Process(int(pid)) for pid in pids]

    def kill(self, host: int) -> None:
        """SIGKILL to all that runs on a host, until nothing does."""

        def is_empty() -> bool:
            for pid in ip("netns", "pids", self.namespaces[host]).split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            return not ip("netns", "pids", self.namespaces[host]).split()

        assert wait_until(is_empty, GONE_S)

    def plug(self, host: int, *, is_in: bool) -> None:
        """Cut a host's cable at the switch, or plug it in: nobody is told."""
        ip("-n", self.switch, "link", "set", f"port{host}", "up" if is_in else "down")


@contextmanager
def network(hosts: int) -> Iterator[Network]:
    """Made, and removed in the end with all that runs there."""
    remove(is_left_behind)
    own = f"{os.getpid()}-{next(NUMBERS)}"
    begin, uplink = f"{PREFIX}{own}-", f"mv{own}"
    taken = ip("-4", "-o", "addr", "show")
    numbers = range(os.getpid(), os.getpid() + 256)
    # Of the range for tests of networks (RFC 2544).
    subnet = next(subnet for number in numbers if (subnet := f"198.18.{number % 256}") + "." not in taken)
    made = Network(
        f"{subnet}.1",
        tuple(f"{subnet}.{10 + host}" for host in range(hosts)),
        tuple(f"{begin}host{host}" for host in range(hosts)),
        f"{begin}switch",
    )
    try:
        ip("netns", "add", made.switch)
        ip("-n", made.switch, "link", "add", "name", "bridge0", "type", "bridge")
        ip("-n", made.switch, "link", "set", "bridge0", "up")
        ip("link", "add", uplink, "type", "veth", "peer", "name", "uplink", "netns", made.switch)
        ip("-n", made.switch, "link", "set", "uplink", "master", "bridge0", "up")
        ip("addr", "add", f"{made.here}/24", "dev", uplink)
        ip("link", "set", uplink, "up")
        for host, (namespace, address) in enumerate(zip(made.namespaces, made.addresses, strict=True)):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("link", "add", "eth0", "netns", namespace, "type", "veth",
               "peer", "name", f"port{host}", "netns", made.switch)  # fmt: skip
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", namespace, "link", "set", "eth0", "up")
            ip("-n", made.switch, "link", "set", f"port{host}", "master", "bridge0", "up")
        yield made
    finally:
        for host, namespace in enumerate(made.namespaces):
            if namespace in namespaces():
                made.kill(host)
        with suppress(AssertionError):  # it was not made
            ip("link", "delete", uplink)
        remove(lambda name: name.startswith(begin))


def namespaces() -> list[str]:
    return [line.split()[0] for line in ip("netns", "list").splitlines()]


def is_left_behind(name: str) -> bool:
    """Whether a process made it that was killed itself."""
    owner = name.removeprefix(PREFIX).partition("-")[0]
    return name.startswith(PREFIX) and owner.isdecimal() and not psutil.pid_exists(int(owner))


def remove(is_chosen: Callable[[str], bool]) -> None:
    """The namespaces that are chosen by their names; with the switch goes the cable to it."""
    for name in filter(is_chosen, namespaces()):
        ip("netns", "delete", name)


def ip(*arguments: str) -> str:
    done = subprocess.run(["/usr/sbin/ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout
