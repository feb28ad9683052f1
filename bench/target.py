"""Where requests go: one address of a running server, and the form in which it takes a picture."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.bodies import BodyFormat


@dataclass(frozen=True)
class Target:
    """``namespace`` names the network namespace that the server runs in; None is the machine's own."""

    port: int
    path: str
    body: BodyFormat
    headers: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    namespace: str | None = None
    #: Answers 200 to a GET once the server works; None: only a picture tells.
    ready: str | None = None
