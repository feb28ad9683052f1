"""Two hosts behind haproxy, one of which is lost or ends: what 16 clients see, who check every answer.

It takes 20 to 60 seconds a row, measured on two busy cores. A host is a network namespace with a whole stack of its
own, which takes root, iproute2 and haproxy.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import requests

from marserve.system.loopback import LOOPBACK
from marserve.system.waiting import wait_until
from marserve.terminal import say
from tests.deploy.networks import Network, network
from tests.deploy.proxy import Proxy, proxy
from tests.e2e.serving import ANSWER_S, Stack, run, stack_on_free_ports, wait_for
from tests.reliability.crowd import PICTURES, Crowd, summed_up
from tests.reliability.stage import Stage, opened
from tests.reliability.table import CannotRunHereError, Row
from tests.reliability.under_load import CALM_S, archive
from tests.requirements import is_there
from tests.support import REPOSITORY

PAGE = REPOSITORY / "docs" / "several-hosts.md"
#: What a machine must have.
NEEDS = ("haproxy", "network-namespaces")
HOSTS = 2
#: Seconds that a host which ends goes on accepting, as the page advises.
DRAIN_S = 5
#: Seconds for a host to be out of rotation, and for a whole stack to be back in it, on a busy machine.
OUT_S, BACK_S = 15.0, 120.0
#: Seconds that a cable stays cut.
CUT_S = 8.0
#: Requests, one after the other, when nothing else is sent.
QUIET = 20

_archive = functools.cache(archive)


@dataclass(frozen=True)
class Host(Stack):
    """A stack on a host of its own."""

    name: str = ""
    namespace: str = ""
    address: str = ""

    @property
    def web(self) -> str:
        return f"http://{self.address}:{self.ports.web_port}"

    def run(self, script: str, *arguments: str, **variables: str) -> CompletedProcess[str]:
        inside = ["ip", "netns", "exec", self.namespace, str(REPOSITORY / "scripts" / script)]
        return run([*inside, *arguments], self.environment | variables)

    def serve(self) -> None:
        self.started("--archive", str(_archive()), "--workers", "1", "--host", "0.0.0.0")  # noqa: S104 - the namespace's

    def status(self, path: str) -> int | None:
        """Of an answer of the host itself; None where there is none."""
        try:
            return requests.get(self.web + path, timeout=2).status_code
        except requests.RequestException:
            return None


@dataclass
class Hosts:
    """Stacks behind haproxy, with a crowd at work before it."""

    hosts: list[Host]
    network: Network
    proxy: Proxy
    crowd: Crowd

    def inflict(self, name: str, strike: Callable[[Host], object], mend: Callable[[Host], object]) -> Row:
        """What ``strike`` does to callers where it befalls the first host, until ``mend`` has brought that back.

        It holds if no answer fails but those that the host had begun, and the host is in rotation again, and no sooner
        than it says that it answers predictions.
        """
        host = self.hosts[0]
        self._wait_until_calm()
        struck_at, logged = time.monotonic(), len(self.proxy.requests())
        complaints = []
        with ThreadPoolExecutor(1) as threads:
            striking = threads.submit(strike, host)
            if not wait_until(lambda: not self.proxy.is_in_rotation(host.name), OUT_S):
                complaints.append(f"{host.name} is still in rotation")
            out_s = time.monotonic() - struck_at
            striking.result()  # `stop` takes longer than until the host is out of rotation
            mending_at = time.monotonic()
            mending = threads.submit(mend, host)
            if not wait_until(lambda: self.proxy.is_in_rotation(host.name), BACK_S, poll_s=0.02):
                complaints.append(f"{host.name} is not back in rotation after {BACK_S:.0f} s")
            elif host.status("/readyz") != requests.codes.ok:
                complaints.append(f"{host.name} is in rotation and not ready")
            back_s = time.monotonic() - mending_at
            mending.result()
        back = len(self.proxy.requests())
        if not wait_until(lambda: _answers(host, self.proxy.requests()[back:]), OUT_S):
            complaints.append(f"{host.name} answers nothing")
        self._wait_until_calm()
        answers, lines = self.crowd.since(struck_at), self.proxy.requests()[logged:]
        bad = [answer for answer in answers if answer.outcome != "right"]
        # haproxy's letters for a server that broke the connection (S) after its answer had begun (D).
        begun = sum(line["ended"] == "SD" for line in lines)
        if len(bad) > begun:
            complaints.append(f"{len(bad)} failed, of which {begun} had been begun")
        again = sum(line["retries"] != "0" for line in lines)
        said = f"; **{'; '.join(complaints)}**" if complaints else ""
        seen = f"{summed_up(answers)}; {again} answered by the other host; out of rotation after {out_s:.1f} s"
        seen += f", back {back_s:.1f} s after its start began{said}"
        good_again = max((answer.ended_at for answer in bad), default=struck_at) - struck_at
        return Row(
            name, seen, good_again, f"{len(bad)} of {len(answers)} requests" if bad else "nothing", not complaints
        )

    def _wait_until_calm(self) -> None:
        """Return when all hosts are in rotation, and nothing bad was seen for a while."""

        begin = time.monotonic()

        def is_calm() -> bool:
            since = self.crowd.since(time.monotonic() - CALM_S)
            are_in = all(self.proxy.is_in_rotation(host.name) for host in self.hosts)
            is_long = time.monotonic() - begin > CALM_S
            return is_long and are_in and bool(since) and all(answer.outcome == "right" for answer in since)

        wait_for(is_calm)


def _answers(host: Host, lines: list[dict[str, Any]]) -> bool:
    return any(line["host"] == host.name and line["status"] == requests.codes.ok for line in lines)


@contextmanager
def several_hosts() -> Iterator[Hosts]:
    if missing := [name for name in NEEDS if not is_there(name)]:
        raise CannotRunHereError(f"there is no {' and no '.join(missing)}")
    _archive()
    with ExitStack() as stack:
        made = stack.enter_context(network(HOSTS))
        hosts = [
            _host(f"host{number}", namespace, address, made.here)
            for number, (namespace, address) in enumerate(zip(made.namespaces, made.addresses, strict=True))
        ]
        for host in hosts:
            stack.callback(_end, host)
        say(f"  starting {len(hosts)} stacks ...")
        with ThreadPoolExecutor(len(hosts)) as threads:
            list(threads.map(Host.serve, hosts))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = [f"{host.name} {host.address}:{host.ports.web_port}" for host in hosts]
        balancer = stack.enter_context(proxy(directory, servers))
        wait_for(lambda: all(balancer.is_in_rotation(host.name) for host in hosts))
        yield Hosts(hosts, made, balancer, Crowd(balancer.url))


def _host(name: str, namespace: str, address: str, balancer: str) -> Host:
    free = stack_on_free_ports()
    given = {"MARSERVE_TRUSTED_PROXIES": balancer, "MARSERVE_DRAIN_S": str(DRAIN_S)}
    return Host(free.ports, free.environment | given, name=name, namespace=namespace, address=address)


def _end(host: Host) -> None:
    with suppress(AssertionError):  # what is left is killed with the network
        host.end()


def quiet(stage: Stage) -> Row:
    tested = stage.on(several_hosts)
    logged = len(tested.proxy.requests())
    picture = PICTURES[0].read_bytes()
    answers = [
        requests.post(f"{tested.proxy.url}/classify", data=picture + str(number).encode(), timeout=ANSWER_S)
        for number in range(QUIET)
    ]
    wait_for(lambda: len(tested.proxy.requests()) >= logged + QUIET)
    shares = Counter(line["host"] for line in tested.proxy.requests()[logged:])
    callers = {caller for host in tested.hosts for caller in _callers(host)}
    are_even = set(shares.values()) == {QUIET // HOSTS}
    seen = f"{Counter(answer.status_code for answer in answers)[200]} × 200; "
    seen += " / ".join(f"{count} by {host}" for host, count in sorted(shares.items()))
    holds = are_even and all(answer.ok for answer in answers) and callers == {LOOPBACK}
    return Row(f"nothing; {QUIET} requests, one after the other", seen, None, "nothing", holds)


def _callers(host: Host) -> set[str]:
    """Whose requests the host's log says it had: the proxy is believed, and callers are behind it."""
    lines = (host.run_directory.logs / "web.log").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines if '"/classify"' in line]
    return {line["client"] for line in found if line.get("path") == "/classify"}


def _with_crowd(
    stage: Stage, name: str, strike: Callable[[Hosts, Host], object], mend: Callable[[Hosts, Host], object]
) -> Row:
    tested = stage.on(several_hosts)
    with tested.crowd.at_work():
        return tested.inflict(name, lambda host: strike(tested, host), lambda host: mend(tested, host))


def by_itself(_: Hosts, __: Host) -> None:
    """Its supervisor brings it back."""


def host_killed(stage: Stage) -> Row:
    return _with_crowd(
        stage,
        "SIGKILL to every process of one of two hosts; then `serve` there again",
        lambda tested, host: tested.network.kill(tested.hosts.index(host)),
        lambda _, host: host.serve(),
    )


def host_cut(stage: Stage) -> Row:
    def cut(tested: Hosts, host: Host) -> None:
        tested.network.plug(tested.hosts.index(host), is_in=False)

    def plug_in(tested: Hosts, host: Host) -> None:
        time.sleep(CUT_S)
        tested.network.plug(tested.hosts.index(host), is_in=True)

    return _with_crowd(
        stage, f"the cable of one of two hosts is cut, and plugged in again after {CUT_S:.0f} s", cut, plug_in
    )


def host_stopped(stage: Stage) -> Row:
    def stop(_: Hosts, host: Host) -> None:
        stopped = host.run("stop")
        assert stopped.returncode == 0, stopped.stderr

    return _with_crowd(
        stage,
        f"`stop` on one of two hosts, with MARSERVE_DRAIN_S={DRAIN_S}; then `serve` there again",
        stop,
        lambda _, host: host.serve(),
    )


def web_killed(stage: Stage) -> Row:
    return _with_crowd(
        stage,
        "SIGKILL to the web service of one of two hosts",
        lambda _, host: host.process("the web service").kill(),
        by_itself,
    )


def torchserve_killed(stage: Stage) -> Row:
    return _with_crowd(
        stage,
        "SIGKILL to TorchServe's Java on one of two hosts",
        lambda _, host: host.process("TorchServe").kill(),
        by_itself,
    )


ROWS: Mapping[str, Callable[[Stage], Row]] = {
    "quiet": quiet,
    "host-killed": host_killed,
    "host-cut": host_cut,
    "host-stopped": host_stopped,
    "web-killed": web_killed,
    "torchserve-killed": torchserve_killed,
}


def stage(_: argparse.Namespace) -> AbstractContextManager[Stage]:
    return opened()
