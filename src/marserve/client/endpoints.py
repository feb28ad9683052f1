"""Where pictures are sent: the web service, or TorchServe behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlencode

#: The body as it is: no form around it, which both ends would have to build and search.
RAW = {"Content-Type": "application/octet-stream", "Accept": "application/json"}


class Endpoint(Protocol):
    """How one level is asked."""

    @property
    def version(self) -> str | None:
        """The version that answers, where it is known beforehand."""

    def path(self, *, top_k: int, explain: bool) -> str:
        """The address of a request."""

    def headers(self, *, top_k: int) -> dict[str, str]:
        """Its headers."""


@dataclass(frozen=True)
class WebEndpoint:
    """/classify and /explain of the web service."""

    #: None: the service's default model.
    model: str | None = None
    version: str | None = None

    def path(self, *, top_k: int, explain: bool) -> str:
        """The address of a request."""
        query = {"top_k": str(top_k)} | ({} if self.model is None else {"model": self.model})
        return f"/{'explain' if explain else 'classify'}?{urlencode(query)}"

    def headers(self, *, top_k: int) -> dict[str, str]:  # noqa: ARG002 - the address tells it
        """Its headers."""
        return RAW


@dataclass(frozen=True)
class TorchServeEndpoint:
    """/predictions and /explanations of TorchServe."""

    model: str
    #: None: the default version.
    version: str | None = None

    def path(self, *, top_k: int, explain: bool) -> str:  # noqa: ARG002 - TorchServe ignores queries
        """The address of a request."""
        names = [self.model] if self.version is None else [self.model, self.version]
        return "/".join(["/explanations" if explain else "/predictions", *(quote(name, safe="") for name in names)])

    def headers(self, *, top_k: int) -> dict[str, str]:
        """Its headers."""
        return {**RAW, "X-Top-K": str(top_k)}
