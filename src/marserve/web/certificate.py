"""The certificate that this service shows, read again when its files change: new connections get the new one."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from pathlib import Path

from marserve.system.files import failure_of, replace_text
from marserve.system.loopback import trusting

logger = logging.getLogger(__name__)

#: Seconds between two looks at the files.
LOOK_S = 1.0

_Seen = tuple[tuple[int, int, int], ...]


class CertificateError(ValueError):
    """The files hold no certificate that could be shown; the message says why."""


class Certificate:
    """A certificate chain and its key, in PEM."""

    def __init__(self, chain: Path, key: Path, published: Path | None = None) -> None:
        """``published`` is where the certificate is written that is shown now, for whoever asks on this machine.

        Raises CertificateError.
        """
        self._files = (chain, key)
        self._published = published
        self._seen: _Seen | None = None
        self._loaded, self._pem, self.expires_at = load(chain, key)
        self._seen = self._look()
        #: What the server listens with; each handshake is given the certificate of that moment.
        self.context = _server_context()
        self.context.load_cert_chain(*self._files, password=_no_password)
        self.context.sni_callback = self._choose
        self._publish()

    async def keep_current(self) -> None:
        """Look at the files until cancelled. A pair that cannot be used, half-written for example, changes nothing."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.refresh()

    def refresh(self) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._loaded, self._pem, self.expires_at = load(*self._files)
        except CertificateError as exc:
            logger.warning("The certificate has changed and cannot be used, the one before stays: %s", exc)
            return
        logger.info("The certificate has changed: new connections get it")
        self._publish()

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._loaded

    def _look(self) -> _Seen | None:
        try:
            statuses = [file.stat() for file in self._files]
        except OSError:
            return None
        return tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in statuses)

    def _publish(self) -> None:
        if self._published is None:
            return
        try:
            replace_text(self._published, self._pem)
        except OSError as exc:
            logger.error("Nobody on this machine learns of the certificate: %s", failure_of(exc))


def load(chain: Path, key: Path) -> tuple[ssl.SSLContext, str, int]:
    """What shows the certificate, the certificate itself in PEM, and when it expires, as a Unix timestamp.

    Proven by a handshake in memory. Raises CertificateError.
    """
    context = _server_context()
    try:
        context.load_cert_chain(chain, key, password=_no_password)
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        shown = _shake_hands(context, anybody).getpeercert(binary_form=True)
        assert shown is not None  # noqa: S101 - every server shows one
        pem = ssl.DER_cert_to_PEM_cert(shown)
        parsed = _shake_hands(context, trusting(pem)).getpeercert()
        assert parsed is not None  # noqa: S101 - it was verified
        return context, pem, int(ssl.cert_time_to_seconds(str(parsed["notAfter"])))
    except ssl.SSLError as exc:
        reason = exc.reason or str(exc)
        advice = "the key is another certificate's" if reason == "KEY_VALUES_MISMATCH" else reason
        raise CertificateError(f"{chain} and {key} are no certificate and its key in PEM ({advice})") from exc
    except OSError as exc:
        raise CertificateError(f"{chain} or {key} cannot be read: {exc.strerror or exc}") from exc


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_password() -> bytes:
    """A key that needs one is an error, and no question to a terminal."""
    return b""


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """A finished handshake without a network; the client's side of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(to_client, to_server)
    answers = server.wrap_bio(to_server, to_client, server_side=True)
    unfinished = [asks, answers]
    while unfinished:
        for side in list(unfinished):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
                unfinished.remove(side)
    return asks
