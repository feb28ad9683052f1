"""Environment variables as typed settings: an impossible value stops start-up."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from marserve.errors import MarserveError
from marserve.redaction import redacted
from marserve.variables import origin, variable
from marserve.web.certificate import CertificateError, load

#: A shorter API key could be guessed.
MIN_API_KEY_LENGTH = 16
#: Characters of the service's name: it stands in one line beside the model chooser of the page.
MAX_NAME_LENGTH = 40
#: Bytes of a request of the Open Inference Protocol that are taken however small MAX_IMAGE_BYTES is.
DEFAULT_BODY_BYTES = 32_000_000
#: Bytes of a request besides its picture: a form's boundaries and other fields, JSON around base64.
OVERHEAD_BYTES = 500_000


class WebSettingsError(MarserveError):
    """A setting that stops start-up; the message names it, its value and a valid one."""

    exit_status = 2


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http:// or https:// address")
    return value.rstrip("/")


def _name(value: str) -> str:
    name = value.strip()
    if not name.isprintable():
        raise ValueError("a name is one line of visible characters")
    return name


def _redis_url(value: str) -> str:
    if urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("not a redis://, rediss:// or unix:// address")
    return value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if value != "*" and (parts.scheme not in {"http", "https"} or not parts.netloc or parts.path):
        raise ValueError("not an origin: scheme, host and port without a path")
    return value


def _proxy(value: str) -> str:
    if value != "*":
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError("not an IP address or network") from None
    return value


def _api_key(value: str) -> str:
    if len(value) < MIN_API_KEY_LENGTH or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"a key has {MIN_API_KEY_LENGTH} or more printable ASCII characters and no space")
    return value


def _writable_folder(value: Path) -> Path:
    """It need not be there yet, and nothing is made here: checking the settings changes nothing."""
    nearest = next(path for path in (value.absolute(), *value.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError("a part of it is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError("nothing may be written there")
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]
Name = Annotated[str, AfterValidator(_name), Field(min_length=1, max_length=MAX_NAME_LENGTH)]
ApiKey = Annotated[str, AfterValidator(_api_key)]
Proxy = Annotated[str, AfterValidator(_proxy)]
Origin = Annotated[str, AfterValidator(_origin)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Positive = Annotated[int, Field(ge=1)]
OrZero = Annotated[int, Field(ge=0)]


class WebSettings(BaseModel):
    """Each field is the environment variable of the same name with MARSERVE_; an empty one counts as not set."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    #: Address to listen on.
    web_host: str = "127.0.0.1"
    #: Port to listen on.
    web_port: Annotated[int, Field(ge=1, le=65535)] = 5000
    #: TorchServe's inference API.
    inference_url: HttpUrl = "http://127.0.0.1:8080"
    #: TorchServe's management API.
    management_url: HttpUrl = "http://127.0.0.1:8081"
    #: TorchServe's metrics, which need no token.
    metrics_url: HttpUrl = "http://127.0.0.1:8082"
    #: TorchServe's key_file.json, with the tokens of its authorization; not set: it needs none.
    key_file: Path | None = None
    #: Where ``deploy`` says which version is on trial, and what was seen of it is written beside it; not set: none is.
    rollout_file: Path | None = None
    #: File in which pictures are remembered under which workers end; not set: as long as this process lives.
    quarantine_file: Path | None = None
    #: File that this process holds a lock on as long as it lives: TorchServe in another container ends after it.
    web_lock: Path | None = None
    #: What the supervisor has restarted, for ``/metrics``; not set: nothing is said of it.
    supervision_file: Path | None = None
    #: The model that answers where a caller names none; if it is untrained, the demonstration model where there is one.
    default_model: str = "resnet18"

    #: What the service is called: in the page's title and head, in /docs and in /models.
    name: Name = "Marserve"

    #: Seconds to answer in, from the moment the whole request has arrived; then the answer is 504.
    request_deadline_s: Seconds = 10.0
    #: Seconds in which the body of a request must have arrived; then the answer is 408.
    upload_deadline_s: Seconds = 30.0
    #: Requests with pictures at work at once, those still arriving left out; beyond it the answer is 503 at once.
    max_in_flight: Positive = 512
    #: Bytes of the pictures that wait for an answer, and of those still arriving; beyond it the answer is 503 at once.
    max_waiting_bytes: Positive = 1_000_000_000
    #: Bytes of one picture; beyond it the answer is 413. ``serve`` makes TorchServe and its workers take as much.
    #: Java's arrays end at 2 GB, which must hold the picture in base64.
    max_image_bytes: Annotated[int, Field(ge=1, le=1_000_000_000)] = 16_000_000
    #: Pixels of one picture, by its header; beyond it the answer is 413. The handler counts again as it decodes,
    #: with the same limit where it is set.
    max_image_pixels: Positive = 50_000_000
    #: Bytes of one request of the Open Inference Protocol, which may carry several pictures, or base64; see
    #: ``protocol_body_bytes``.
    max_body_bytes: Positive | None = None

    #: Keys that callers must show, comma-separated: several, to change them one after the other. Not set: none.
    api_keys: Annotated[tuple[ApiKey, ...], BeforeValidator(_split)] = ()
    #: File with more keys, one a line; lines that start with # are comments.
    api_keys_file: Path | None = None
    #: File with the certificate, and those between it and its authority, in PEM: the service speaks HTTPS alone, and
    #: reads it again when it changes. Not set: HTTP.
    tls_certificate: Path | None = None
    #: File with the certificate's key, in PEM and without a password.
    tls_key: Path | None = None
    #: Where the certificate is written that is shown now, for whoever asks on this machine.
    tls_published: Path | None = None
    #: Pictures a minute for each API key, or each address where there are none; so many may come at once. 0: no limit.
    rate_limit_per_minute: OrZero = 0
    #: Comma-separated addresses or networks of proxies whose X-Forwarded-For, -Proto, -Host and -Prefix are believed,
    #: or Forwarded where there is none of them; * is all.
    trusted_proxies: Annotated[tuple[Proxy, ...], BeforeValidator(_split)] = ()
    #: Comma-separated origins whose pages may call this service from a browser; * is all. Not set: none.
    cors_origins: Annotated[tuple[Origin, ...], BeforeValidator(_split)] = ()

    #: Redis for the results of repeated pictures, shared by several services; not set: this process's memory.
    cache_url: Annotated[str, AfterValidator(_redis_url)] | None = None
    #: Results kept in memory; 0: nothing is cached, in memory or Redis.
    cache_max_entries: OrZero = 10_000
    #: Bytes kept in memory; Redis has its own maxmemory.
    cache_max_bytes: Positive = 64_000_000
    #: Seconds that a result is kept.
    cache_ttl_s: Positive = 3600

    #: Whether pictures are fetched from addresses that callers name; see ``fetching``.
    fetch_pictures: bool = False
    #: Folder in which reports of wrong answers are kept, with their pictures; not set: none are taken.
    feedback_dir: Annotated[Path, AfterValidator(_writable_folder)] | None = None
    #: Bytes of everything in that folder; beyond it a report is refused with 507.
    feedback_max_bytes: Positive = 1_000_000_000

    #: Seconds from SIGTERM, when /readyz turns 503, until no more connections are accepted: time for a load balancer.
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    #: Seconds from SIGTERM to SIGKILL, as whoever starts this process has them: what is unanswered 6 s before that is
    #: given up, so that it ends in order, and TorchServe after it. Not set: as long as the deadlines are.
    grace_s: Seconds | None = None
    #: What is logged.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @property
    def picture_body_bytes(self) -> int:
        """Of a request with one picture of the greatest size, in any form: base64 needs a third more, 1.41 times the
        bytes with line ends that JSON or a URL has to encode.
        """
        return self.max_image_bytes * 3 // 2 + OVERHEAD_BYTES

    @property
    def protocol_body_bytes(self) -> int:
        """``max_body_bytes``, where that is not set room for two pictures of the greatest size."""
        return self.max_body_bytes or max(2 * self.max_image_bytes, DEFAULT_BODY_BYTES)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> WebSettings:
        """Read the settings, and the keys of MARSERVE_API_KEYS_FILE into ``api_keys``. Raises WebSettingsError."""
        given = {name: environment[variable(name)] for name in cls.model_fields if environment.get(variable(name))}
        for one, other in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
            if one in given and other not in given:
                raise WebSettingsError(f"{origin(variable(one))} needs {variable(other)} beside it: set both, or none.")
        try:
            settings = cls.model_validate(given)
            if settings.api_keys_file is not None:
                keys = (*settings.api_keys, *_read_keys(settings.api_keys_file))
                settings = cls.model_validate({**given, "api_keys": keys})
        except ValidationError as exc:
            # Not chained: what pydantic shows may hold a key.
            raise WebSettingsError(_explain(exc, given)) from None
        if settings.tls_certificate is not None and settings.tls_key is not None:
            try:
                load(settings.tls_certificate, settings.tls_key)
            except CertificateError as exc:
                raise WebSettingsError(f"{variable('tls_certificate')} and {variable('tls_key')}: {exc}.") from exc
        return settings


#: What to say where pydantic's words speak of its own.
REASONS = {
    "int_parsing": "not a whole number",
    "float_parsing": "not a number",
    "finite_number": "not a number",
    "greater_than": "not above {gt}",
    "greater_than_equal": "less than {ge}",
    "less_than_equal": "more than {le}",
    "literal_error": "none of {expected}",
    "bool_parsing": "neither true nor false",
}
#: A valid value of each setting that has none by default.
EXAMPLES = {
    "trusted_proxies": "10.0.0.0/8",
    "cors_origins": "https://example.org",
    "cache_url": "redis://127.0.0.1:6379/0",
    "max_body_bytes": 32_000_000,
    "feedback_dir": "/var/lib/marserve/feedback",
}


def _read_keys(file: Path) -> tuple[str, ...]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as exc:
        raise WebSettingsError(
            f"MARSERVE_API_KEYS_FILE = {str(file)!r}: {exc}; name a text file with one key a line."
        ) from exc
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:  # an open service would be the worst way to read an empty file
        raise WebSettingsError(
            f"MARSERVE_API_KEYS_FILE = {str(file)!r} has no key: write one a line, or leave the setting out."
        )
    return keys


def _explain(failure: ValidationError, given: Mapping[str, str]) -> str:
    problems = []
    for error in failure.errors():
        name = str(error["loc"][0])
        reason = error["msg"].removeprefix("Value error, ").lower()
        if error["type"] in REASONS:
            reason = REASONS[error["type"]].format_map(error.get("ctx", {})).replace("'", "")
        if name == "api_keys":  # a key does not belong in a log
            problems.append(f"MARSERVE_API_KEYS or MARSERVE_API_KEYS_FILE: {reason}")
            continue
        example = EXAMPLES.get(name, WebSettings.model_fields[name].default)
        problems.append(
            f"{origin(variable(name))} = {redacted(given[name])!r} (a valid value is {str(example)!r}): {reason}"
        )
    return "; ".join(problems)
