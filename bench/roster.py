"""Who takes part in a run: this project's servers and the peers' variants that were asked for."""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError, CandidateError, InstallationError
from bench.journal import Journal
from bench.machine import peer_version
from bench.options import Options
from bench.our_server import OurServer
from bench.peer_files import read_peers
from bench.peer_server import PeerServer
from bench.workspace import Workspace
from marserve.terminal import say

OURS = "ours"


def our_servers(workspace: Workspace, options: Options) -> list[OurServer]:
    """One for each precision."""
    return [OurServer(precision, workspace) for precision in options.precisions]


def peer_servers(workspace: Workspace, options: Options, archives: dict[str, Path]) -> list[PeerServer]:
    """The chosen variants of the chosen peers; those with our engine once for each precision asked for of them."""
    servers = []
    for peer in read_peers():
        if not options.wants_server(peer.name):
            continue
        for variant in peer.variants:
            precisions = options.engine_precisions if variant.is_ours else ("f32",)
            servers += [PeerServer(peer, variant, workspace, archives, precision) for precision in precisions]
    return [server for server in servers if options.wants_variant(server.key)]


def prepare_ours(servers: list[OurServer], journal: Journal) -> tuple[list[OurServer], dict[str, Path]]:
    """Build the archives; those servers that can run, and their archives' content by precision."""
    ready, archives = [], {}
    for server in servers:
        say(f"Building {server.title} ...")
        try:
            server.prepare()
        except BenchError as exc:
            _leave_out(server, exc, journal)
            continue
        ready.append(server)
        archives[server.precision] = server.unpack()
    return ready, archives


def prepare_peers(servers: list[PeerServer], journal: Journal) -> list[PeerServer]:
    """Install what they need; those that can run."""
    ready = []
    versions: dict[str, str | None] = {}
    unusable: dict[str, str] = {}
    for server in servers:
        name = server.peer.name
        try:
            if name in unusable:
                raise InstallationError(unusable[name])
            python = server.prepare()
        except CandidateError as exc:
            if isinstance(exc, InstallationError):  # not tried again for each variant
                unusable[name] = str(exc)
            _leave_out(server, exc, journal)
            continue
        ready.append(server)
        versions[name] = versions.get(name) or peer_version(name, python)
    journal.add("peer versions", versions=versions)
    return ready


def _leave_out(server: OurServer | PeerServer, reason: BenchError, journal: Journal) -> None:
    say(f"  {server.title}: left out: {reason}")
    journal.add("left out", candidate=server.key, title=server.title, reason=str(reason))
