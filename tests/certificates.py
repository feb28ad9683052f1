"""Certificates for tests, made by openssl: @pytest.mark.needs("openssl")."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: Path
    key: Path


def make_pair(directory: Path, name: str = "here", *, host: str = "127.0.0.1", days: int = 30) -> Pair:
    """One that signs itself, for ``host`` and localhost; with ``days`` below 0 it has expired."""
    pair = Pair(directory / f"{name}.pem", directory / f"{name}.key")
    asked = directory / f"{name}.csr"
    names = f"subjectAltName=IP:{host},DNS:localhost"
    for command in (
        ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(pair.key),
         "-out", str(asked), "-subj", f"/CN={name}", "-addext", names],
        ["x509", "-req", "-in", str(asked), "-signkey", str(pair.key), "-days", str(days), "-copy_extensions", "copy",
         "-out", str(pair.certificate)],
    ):  # fmt: skip
        subprocess.run(["openssl", *command], check=True, capture_output=True)  # noqa: S607 - wherever it is installed
    return pair


def replace_pair(old: Pair, new: Pair) -> None:
    """As who renews certificates does: one file after the other, each in one step."""
    for source, target in ((new.certificate, old.certificate), (new.key, old.key)):
        beside = target.with_suffix(".new")
        beside.write_bytes(source.read_bytes())
        beside.replace(target)
