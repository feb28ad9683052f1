"""Virtual environments of the peers, made once; one base environment lends torch to all of them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import InstallationError
from bench.peer_files import PEERS, Peer
from marserve.errors import MarserveError
from marserve.setup.pip import pip_install
from marserve.system.locks import locked
from marserve.terminal import say

ENVIRONMENTS = Path(__file__).resolve().parent / ".environments"
#: Lent to all peers, and to those that are also measured with our engine.
BASE, ENGINE = ENVIRONMENTS / "base", ENVIRONMENTS / "engine"
BASE_REQUIREMENTS = PEERS / "common" / "requirements.txt"
ENGINE_REQUIREMENTS = PEERS / "common" / "engine-requirements.txt"
#: Holds the digest of the requirements that were installed completely.
STAMP = "installed.stamp"


def ensure_peer(peer: Peer) -> Path:
    """The interpreter for ``peer``. Raises InstallationError where its packages cannot be installed."""
    directory = ENVIRONMENTS / peer.name
    try:
        lent = [_ensure(BASE, BASE_REQUIREMENTS, "the packages that all peers share", [])]
        if any(variant.is_ours for variant in peer.variants):
            lent.append(_ensure(ENGINE, ENGINE_REQUIREMENTS, "what our engine needs", lent))
        _ensure(directory, peer.directory / "requirements.txt", peer.title, lent)
    except MarserveError as exc:
        raise InstallationError(f"Its packages cannot be installed: {exc}") from exc
    return directory / "bin" / "python"


def _ensure(directory: Path, requirements: Path, title: str, lent: Sequence[Path]) -> Path:
    """The site-packages of ``directory`` with the ``requirements``, which also sees those ``lent`` to it."""
    text = requirements.read_text(encoding="utf-8")
    digest = hashlib.sha256(f"{sys.version_info[:2]}\n{lent}\n{text}".encode()).hexdigest()
    stamp = directory / STAMP
    with locked(ENVIRONMENTS / "set-up.lock", on_wait=lambda: say("Waiting for another set-up to finish ...")):
        if not stamp.exists() or stamp.read_text(encoding="ascii") != digest:
            _install(directory, requirements, title, lent)
            stamp.write_text(digest, encoding="ascii")
    return _site_packages(directory)


def _install(directory: Path, requirements: Path, title: str, lent: Sequence[Path]) -> None:
    say(f"Setting up {title} ({directory.name}) ...")
    python = directory / "bin" / "python"
    if not python.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        interpreter = getattr(sys, "_base_executable", None) or sys.executable
        done = subprocess.run([interpreter, "-m", "venv", directory], capture_output=True, text=True, check=False)
        if done.returncode:
            raise MarserveError(f"{directory} cannot be made: {done.stdout}{done.stderr}")
    # Appended to the path, so that the peer's own packages come first; there before pip looks what is installed.
    paths = "".join(f"{path}\n" for path in lent)
    (_site_packages(directory) / "base.pth").write_text(paths, encoding="utf-8")
    log = ENVIRONMENTS / f"{directory.name}.log"
    pip_install(python, ["-r", requirements], log_file=log, step=f"Installing {directory.name}", cwd=ENVIRONMENTS)


def _site_packages(directory: Path) -> Path:
    return directory / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
