"""What proxies say of a request that they pass on: whose it is, and which address the caller sees."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

#: Characters of the longest IPv6 address, with a zone; what is longer is none.
MAX_ADDRESS = 64
X_FORWARDED = {f"x-forwarded-{name}".encode(): name for name in ("for", "proto", "host", "prefix")}
#: Host and port, as a URL takes them; anything else is ignored.
HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
#: A path below which a proxy serves this service. No empty segment: // would be another host's address.
PREFIX = re.compile(r"(?:/[A-Za-z0-9._~%-]+)+")
#: An address and a port, if there is one: of IPv6 in brackets, else after the one colon.
ADDRESS_AND_PORT = re.compile(r"\[([^\]]*)\](?::.*)?|([^:]*)(?::[^:]*)?")


class TrustedProxies:
    """ASGI middleware, before everything else: believes a proxy of ``trusted`` addresses and networks; ``*`` is all.

    It reads X-Forwarded-For, -Proto, -Host and -Prefix, or Forwarded (RFC 7239) where there is none of them, which each
    proxy appends to or replaces. What was written before the first trusted proxy may be anybody's, and is ignored.

    ``scope["client"]``, ``["scheme"]`` and the header Host become the caller's; ``request.state.prefix`` is the path
    that the proxies have removed.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        self._app = app
        self._trusts_all = "*" in trusted
        self._networks = [ipaddress.ip_network(network, strict=False) for network in trusted if network != "*"]
        self._is_listed = lru_cache(maxsize=4096)(self._find)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            client = scope["client"]
            if client and self._trusts(client[0]):
                self._believe(scope)
        await self._app(scope, receive, send)

    def _believe(self, scope: Scope) -> None:
        said: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            if name in X_FORWARDED:
                said.setdefault(X_FORWARDED[name], []).extend(map(str.strip, value.decode("latin-1").split(",")))
        if not said:
            forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"forwarded"]
            said = _read_forwarded(",".join(forwarded))
        addresses = [_without_port(address) for address in said.get("for", [])]
        # The proxy that sent this, and each one before it that another has named.
        proxies = 1
        while proxies <= len(addresses) and self._trusts(addresses[-proxies]):
            proxies += 1
        # Of each list, only so many of the last were written by these proxies.
        client = addresses[-proxies:][0] if addresses else ""
        if 0 < len(client) <= MAX_ADDRESS:
            scope["client"] = (client, 0)
        scheme, host = (next(filter(None, said.get(name, [])[-proxies:]), "") for name in ("proto", "host"))
        if scheme.lower() in {"http", "https"}:
            scope["scheme"] = scheme.lower()
        if HOST.fullmatch(host):
            others = [header for header in scope["headers"] if header[0] != b"host"]
            scope["headers"] = [(b"host", host.encode()), *others]
        prefix = "".join(part.rstrip("/") for part in said.get("prefix", [])[-proxies:])
        if PREFIX.fullmatch(prefix):
            scope.setdefault("state", {})["prefix"] = prefix

    def _trusts(self, address: str) -> bool:
        return self._trusts_all or (len(address) <= MAX_ADDRESS and self._is_listed(address))

    def _find(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:  # a name, which anybody may have written
            return False
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self._networks)


def _read_forwarded(value: str) -> dict[str, list[str]]:
    """The lists that X-Forwarded-For, -Proto and -Host would be; what an element leaves out is empty there."""
    elements = []
    for element in _split_unquoted(value, ","):
        pairs = [pair.partition("=")[::2] for pair in _split_unquoted(element, ";")]
        elements.append({name.strip().lower(): _unquote(value.strip()) for name, value in pairs})
    return {name: [element.get(name, "") for element in elements] for name in ("for", "proto", "host")}


def _split_unquoted(text: str, separator: str) -> list[str]:
    # A quote that does not end reaches to the end, so that this takes linear time.
    return re.findall(rf'(?:[^{separator}"]|"(?:\\.|[^"\\])*"?)+', text)


def _unquote(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value.strip('"')) if value.startswith('"') else value


def _without_port(address: str) -> str:
    match = ADDRESS_AND_PORT.fullmatch(address)
    return (match[1] or match[2] or "") if match else address
