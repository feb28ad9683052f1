"""A picture at an address that a caller names: fetched from public servers only, wherever names and redirects lead.

Server-side request forgery is what this must not allow: reaching, for somebody outside, what only this machine can
reach. So every connection is checked where its socket is made, after names, number forms and redirects are resolved.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import anyio
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from marserve import __version__
from marserve.handler.resnet18.encodings import begins_like_picture
from marserve.handler.resnet18.errors import ImageTooLarge, InvalidRequest, RequestError, UnsupportedImage
from marserve.web.errors import Overloaded

#: Seconds for all of it: names, connections, redirects and the picture.
DEADLINE_S = 10.0
MAX_REDIRECTS = 3
#: At once, for all callers: each may wait for a slow server.
MAX_FETCHES = 8
#: Longer ones are no picture's.
MAX_ADDRESS_LENGTH = 2000
#: Enough to tell a picture from anything else.
HEAD_BYTES = 32

#: Of IPv6, all that is public lies here (IANA, Global Unicast) ...
PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
#: ... or stands for an IPv4 address (RFC 6052), which is then what counts.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: Not public in spite of that, whatever Python's version says: protocol assignments, Oracle's metadata and Teredo among
#: them; benchmarks, documentation; 6to4, which leads to any IPv4 address; Azure's metadata, which has a public address.
NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)

#: Address family and numeric addresses are all that is taken from a look-up.
LookUp = Callable[[str], list[str]]
IsPublic = Callable[[str], bool]


class PictureNotFetched(RequestError):  # noqa: N818 - sent to callers as the error's `type`
    """Always the same words where an address leads inside, to nothing, or nowhere: they must not tell which."""

    def __init__(self) -> None:
        super().__init__(
            "No picture could be fetched from this address: it must be one that everybody on the internet can open, "
            f"and answer with a picture within {DEADLINE_S:g} seconds. Or send the picture itself."
        )


def is_public(text: str) -> bool:
    """Whether everybody on the internet may connect to this numeric address, and not only this machine or network."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT64:
            return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
        if address not in PUBLIC_IPV6:
            return False
    elif address.is_multicast:
        return False
    return address.is_global and not any(address in network for network in NOT_PUBLIC) and not _is_own(text)


def _is_own(address: str) -> bool:
    """Whether this machine itself has the address: what a firewall keeps from others would then be open. Nothing is
    sent: for a datagram, connecting only chooses the address to send from.
    """
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return False
        return bool(ipaddress.ip_address(probe.getsockname()[0]) == ipaddress.ip_address(address))


def look_up(host: str) -> list[str]:
    """The numeric addresses of ``host``. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PublicResolver(AbstractResolver):
    """Names whose addresses are all public; others fail as if there were no such name."""

    def __init__(self, look_up: LookUp, is_public: IsPublic) -> None:
        self._look_up = look_up
        self._is_public = is_public
        # Of its own: a name server that never answers keeps a thread for long.
        self._threads = ThreadPoolExecutor(MAX_FETCHES, thread_name_prefix="look-up")

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - aiohttp's signature
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host)
        if not found or not all(map(self._is_public, found)):
            raise OSError("no public address")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Fetcher:
    """Fetches pictures. Nothing of the caller's request goes along, and no cookie, proxy or password of ours."""

    def __init__(
        self,
        max_bytes: int,
        *,
        look_up: LookUp = look_up,
        is_public: IsPublic = is_public,
        ports: frozenset[int] = frozenset((80, 443)),
    ) -> None:
        """Call it where an event loop runs. ``max_bytes``: of one picture. The other arguments are for tests."""
        self._max_bytes = max_bytes
        self._is_public = is_public
        self._ports = ports
        self._running = 0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=PublicResolver(look_up, is_public),
                use_dns_cache=False,
                force_close=True,
                # aiohttp asks no resolver about numeric addresses; this sees each connection's.
                socket_factory=self._open_socket,
            ),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": f"marserve/{__version__}"},
        )

    async def close(self) -> None:
        await self._session.close()

    async def fetch(self, text: str) -> bytes:
        """The bytes at the address ``text``, which begin like a picture.

        Raises InvalidRequest for what is no address to fetch, PictureNotFetched, UnsupportedImage for something else
        than a picture, ImageTooLarge, or Overloaded.
        """
        url = self._parse(text)
        if self._running >= MAX_FETCHES:
            raise Overloaded("Too many pictures are being fetched: try again in a moment, or send the picture itself.")
        self._running += 1
        try:
            with anyio.fail_after(DEADLINE_S):
                return await self._follow(url)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as exc:
            raise PictureNotFetched from exc
        finally:
            self._running -= 1

    def _parse(self, text: str) -> URL:
        advice = "give the address of a public picture, such as https://example.org/cat.jpg."
        if len(text) > MAX_ADDRESS_LENGTH or not text.isprintable() or " " in text:
            raise InvalidRequest(f"This is no address: {advice}")
        try:
            url = URL(text)
            port = url.port
        except (ValueError, IndexError) as exc:  # IndexError: a fault of yarl 1.x, for http://[a]@
            raise InvalidRequest(f"This is no address: {advice}") from exc
        if url.scheme not in ("http", "https") or not url.host:
            raise InvalidRequest(f"Only http:// and https:// addresses are fetched: {advice}")
        if url.user is not None or url.password is not None:
            raise InvalidRequest(f"An address with a name or password is not fetched: {advice}")
        if port not in self._ports:
            raise InvalidRequest(f"Only the ports 80 and 443 are fetched from: {advice}")
        return url

    async def _follow(self, url: URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status == 200:
                    return await self._read(response)
                location = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or not location:
                    raise PictureNotFetched
            try:
                url = self._parse(str(url.join(URL(location))))
            except (InvalidRequest, IndexError) as exc:
                raise PictureNotFetched from exc
        raise PictureNotFetched

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        is_picture = False
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > self._max_bytes:
                raise ImageTooLarge(f"The picture has more than {self._max_bytes} bytes: send a smaller one.")
            if not is_picture and len(content) >= HEAD_BYTES:
                is_picture = self._check_head(content)
        self._check_head(content)
        return bytes(content)

    def _check_head(self, content: bytearray) -> bool:
        if not begins_like_picture(content):
            raise UnsupportedImage(
                "This address does not lead to a picture: open the picture alone and copy its address."
            )
        return True

    def _open_socket(self, info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self._is_public(address[0]):
            raise OSError("not public")
        return socket.socket(family, kind, protocol)
