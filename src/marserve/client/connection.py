"""HTTP requests to one server: connections that are kept, credentials, retries within a deadline."""

from __future__ import annotations

import ipaddress
import random
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from marserve.client.credentials import Credentials
from marserve.client.errors import ClientError, ServerFailed, ServerOverloaded, TimedOut, Unreachable, error_of
from marserve.redaction import redacted
from marserve.system.loopback import trusting

#: Seconds for a connection to be made; a lost packet is sent again after 1 and 3 s.
CONNECT_S = 4.0
#: Says how many milliseconds the answer is still worth something: a server that cannot keep to it says so at once.
TIMEOUT_HEADER = "X-Request-Timeout-Ms"
#: Seconds that must be left for another attempt: the failure before it says more than a deadline missed by then.
SHORTEST_ATTEMPT_S = 0.1


@dataclass(frozen=True)
class Backoff:
    """Exponential, with jitter, so that clients that failed together do not come back together."""

    #: Seconds before the first retry, at most.
    first_s: float = 0.1
    #: Seconds between two attempts, at most, unless the server says more.
    longest_s: float = 5.0

    def delay_s(self, attempt: int, retry_after_s: float | None = None) -> float:
        """Seconds to wait after ``attempt`` failures; never less than the server says."""
        spread = min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, 30))
        return (retry_after_s or 0.0) + spread * random.uniform(0.5, 1)  # noqa: S311 - no secret


class Connection:
    """Requests of many threads to one server."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        connections: int,
        backoff: Backoff | None = None,
        sends_deadlines: bool = False,
        ca: Path | None = None,
        certificate: Path | None = None,
    ) -> None:
        """``connections`` are kept open at most; more threads than that open new ones for each request.

        ``sends_deadlines``: each request says how long the caller still waits. ``ca`` is a file with certificates of
        authorities to trust; None: those of REQUESTS_CA_BUNDLE, or the usual ones. ``certificate`` is that of the
        server itself, which alone is trusted, whatever names it holds: for one on this machine. Raises ValueError.
        """
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
            raise ValueError(f"{redacted(url)!r} is no address of a server: give one such as http://127.0.0.1:5000")
        self.url = url.rstrip("/")
        #: As it is shown: an address may hold a password.
        self._shown = redacted(self.url)
        self._credentials = credentials
        self._backoff = backoff or Backoff()
        self._sends_deadlines = sends_deadlines
        self._closed = threading.Event()
        trusted = certificate or ca
        if trusted is not None and not trusted.is_file():
            raise ValueError(f"{trusted} is no file: name one with certificates in PEM")
        self._adapter = _Adapter(certificate, pool_connections=1, pool_maxsize=connections)
        # A Session would search for proxies and certificates in the environment on every request, and keep cookies and
        # redirects that these servers do not use: half of the time that a request costs here.
        with requests.Session() as session:
            settings = session.merge_environment_settings(url, {}, None, str(trusted) if trusted else None, None)
        # A proxy reaches its own machine, not this one.
        proxies = {} if _is_this_machine(str(urlsplit(url).hostname)) else settings["proxies"]
        self._proxies, self._verify, self._cert = proxies, settings["verify"] or False, settings["cert"]

    def close(self) -> None:
        """Close the connections; whoever waits for a retry stops waiting and fails."""
        self._closed.set()
        self._adapter.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        retry: bool = True,
    ) -> bytes:
        """The body of the answer, if its status is below 400.

        With ``retry``, 503, 504 with a Retry-After and failed connections are retried until ``deadline_s`` seconds have
        passed since the call; no other status is. Raises ClientError.
        """
        give_up = time.monotonic() + deadline_s
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._send_with_valid_credentials(method, path, headers or {}, body, give_up)
            except (ServerOverloaded, ServerFailed, Unreachable) as exc:
                # 504: the server gave it less time than there is here.
                is_late = exc.status == 504 and exc.retry_after_s is not None
                if not retry or (isinstance(exc, ServerFailed) and not is_late):
                    raise
                delay = self._backoff.delay_s(attempt, exc.retry_after_s)
                if time.monotonic() + delay + SHORTEST_ATTEMPT_S > give_up or self._closed.wait(delay):
                    raise

    def _send_with_valid_credentials(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, give_up: float
    ) -> bytes:
        shown = self._credentials.headers()
        response = self._send(method, path, {**headers, **shown}, body, give_up)
        if response.status_code >= 400 and self._credentials.replaced(shown, response.status_code, response.content):
            response = self._send(method, path, {**headers, **self._credentials.headers()}, body, give_up)
        if response.status_code >= 400:
            raise error_of(response.status_code, response.content, response.headers.get("Retry-After"))
        return response.content

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, give_up: float
    ) -> requests.Response:
        left = give_up - time.monotonic()
        if left <= 0:
            raise TimedOut(f"{self._shown} did not answer in time.")
        request = requests.PreparedRequest()
        request.method = method
        request.url = self.url + path
        request.headers = requests.structures.CaseInsensitiveDict(headers)
        if self._sends_deadlines:
            request.headers[TIMEOUT_HEADER] = str(max(1, int(left * 1000)))
        request.body = body
        request.headers["Content-Length"] = str(len(body or b""))
        try:
            response = self._adapter.send(
                request,
                timeout=(min(left, CONNECT_S), left),
                verify=self._verify,
                cert=self._cert,
                proxies=self._proxies,
            )
            response.content  # noqa: B018 - read to its end here, where failures are translated
        except requests.exceptions.SSLError as exc:
            reason = exc.args[0].reason if exc.args and hasattr(exc.args[0], "reason") else exc
            # Its server is just ending, for example.
            if reason.args and isinstance(reason.args[0], ssl.SSLEOFError | ssl.SSLZeroReturnError):
                raise self._unreachable() from exc
            raise ClientError(
                f"{self._shown} shows no certificate that is trusted here: name the file of its authority (--ca, ca=). "
                f"({reason})"
            ) from exc
        except requests.exceptions.ReadTimeout as exc:
            raise TimedOut(f"{self._shown} did not answer within the deadline.") from exc
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as exc:
            raise self._unreachable() from exc
        except requests.RequestException as exc:
            raise ClientError(f"The request to {self._shown} cannot be sent: {redacted(str(exc))}") from exc
        return response

    def _unreachable(self) -> Unreachable:
        return Unreachable(f"{self._shown} cannot be reached, or broke the connection: is the service running?")


class _Adapter(HTTPAdapter):
    """Trusts ``certificate`` alone, where there is one, and does not ask for its name."""

    def __init__(self, certificate: Path | None, **options: Any) -> None:
        self._certificate = certificate
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        if self._certificate is not None:
            context = trusting(self._certificate.read_text(encoding="ascii"))
            options |= {"ssl_context": context, "assert_hostname": False}
        super().init_poolmanager(*args, **options)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
