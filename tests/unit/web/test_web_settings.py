"""Environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from marserve.web.settings import WebSettings, WebSettingsError

KEY = "0123456789abcdef"


def test_defaults_are_those_of_the_contract() -> None:
    settings = WebSettings.from_environment({})
    assert (settings.web_host, settings.web_port) == ("127.0.0.1", 5000)
    assert settings.inference_url == "http://127.0.0.1:8080"
    assert settings.management_url == "http://127.0.0.1:8081"
    assert (settings.request_deadline_s, settings.max_image_bytes) == (10, 16_000_000)
    assert (settings.api_keys, settings.cors_origins, settings.rate_limit_per_minute) == ((), (), 0)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MARSERVE_WEB_HOST", "0.0.0.0", "0.0.0.0"),  # noqa: S104
        ("MARSERVE_WEB_PORT", "5001", 5001),
        ("MARSERVE_INFERENCE_URL", "http://torchserve:8080/", "http://torchserve:8080"),
        ("MARSERVE_MANAGEMENT_URL", "https://torchserve", "https://torchserve"),
        ("MARSERVE_KEY_FILE", "/run/key_file.json", Path("/run/key_file.json")),
        ("MARSERVE_REQUEST_DEADLINE_S", "2.5", 2.5),
        ("MARSERVE_UPLOAD_DEADLINE_S", "60", 60),
        ("MARSERVE_MAX_IN_FLIGHT", "8", 8),
        ("MARSERVE_MAX_IMAGE_BYTES", "1000", 1000),
        ("MARSERVE_MAX_BODY_BYTES", "2000", 2000),
        ("MARSERVE_API_KEYS", f"{KEY}, {KEY}2,", (KEY, f"{KEY}2")),
        ("MARSERVE_RATE_LIMIT_PER_MINUTE", "60", 60),
        ("MARSERVE_TRUSTED_PROXIES", "10.0.0.1,10.1.0.0/16", ("10.0.0.1", "10.1.0.0/16")),
        ("MARSERVE_TRUSTED_PROXIES", "::1, 10.1.2.3/16", ("::1", "10.1.2.3/16")),
        ("MARSERVE_TRUSTED_PROXIES", "*", ("*",)),
        (
            "MARSERVE_CORS_ORIGINS",
            "https://a.example,http://b.example:8000",
            ("https://a.example", "http://b.example:8000"),
        ),
        ("MARSERVE_CORS_ORIGINS", "*", ("*",)),
        ("MARSERVE_CACHE_URL", "redis://cache:6379/1", "redis://cache:6379/1"),
        ("MARSERVE_CACHE_MAX_ENTRIES", "0", 0),
        ("MARSERVE_CACHE_MAX_BYTES", "1", 1),
        ("MARSERVE_CACHE_TTL_S", "60", 60),
        ("MARSERVE_NAME", " What <is> it? 图 ", "What <is> it? 图"),
        ("MARSERVE_FEEDBACK_DIR", "/tmp/not/there/yet", Path("/tmp/not/there/yet")),  # noqa: S108
        ("MARSERVE_FEEDBACK_MAX_BYTES", "1000", 1000),
        ("MARSERVE_DRAIN_S", "5", 5),
        ("MARSERVE_LOG_LEVEL", "DEBUG", "DEBUG"),
        ("MARSERVE_WEB_PORT", "", 5000),
    ],
)
def test_variable_sets_its_setting(name: str, value: str, expected: object) -> None:
    assert getattr(WebSettings.from_environment({name: value}), name.removeprefix("MARSERVE_").lower()) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MARSERVE_WEB_PORT", "0"),
        ("MARSERVE_WEB_PORT", "70000"),
        ("MARSERVE_WEB_PORT", "http"),
        ("MARSERVE_INFERENCE_URL", "127.0.0.1:8080"),
        ("MARSERVE_INFERENCE_URL", "http://"),
        ("MARSERVE_REQUEST_DEADLINE_S", "0"),
        ("MARSERVE_REQUEST_DEADLINE_S", "nan"),
        ("MARSERVE_MAX_IN_FLIGHT", "0"),
        ("MARSERVE_MAX_IMAGE_BYTES", "16MB"),
        ("MARSERVE_RATE_LIMIT_PER_MINUTE", "-1"),
        ("MARSERVE_TRUSTED_PROXIES", "nginx"),
        ("MARSERVE_TRUSTED_PROXIES", "10.0.0.1,10.0.0.0/33"),
        ("MARSERVE_CORS_ORIGINS", "example.org"),
        ("MARSERVE_CORS_ORIGINS", "https://example.org/"),
        ("MARSERVE_CACHE_URL", "memcached://cache"),
        ("MARSERVE_CACHE_TTL_S", "0"),
        ("MARSERVE_FEEDBACK_DIR", "/dev/null"),
        ("MARSERVE_FEEDBACK_DIR", "/dev/null/reports"),
        ("MARSERVE_FEEDBACK_MAX_BYTES", "1GB"),
        ("MARSERVE_LOG_LEVEL", "loud"),
        ("MARSERVE_NAME", "two\nlines"),
        ("MARSERVE_NAME", "x" * 41),
        ("MARSERVE_NAME", " "),
    ],
)
def test_impossible_value_is_named_with_a_valid_one(name: str, value: str) -> None:
    with pytest.raises(WebSettingsError) as failure:
        WebSettings.from_environment({name: value})
    assert f"{name} = {value!r} (a valid value is " in str(failure.value)


def test_keys_of_file_and_environment_are_joined(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# for the shop\n{KEY}-file\n\n")
    settings = WebSettings.from_environment({"MARSERVE_API_KEYS": KEY, "MARSERVE_API_KEYS_FILE": str(file)})
    assert settings.api_keys == (KEY, f"{KEY}-file")


@pytest.mark.parametrize("content", ["", "# nothing but a comment\n", "short\n", None])
def test_file_without_a_usable_key_stops_start_up(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(WebSettingsError, match="MARSERVE_API_KEYS_FILE"):
        WebSettings.from_environment({"MARSERVE_API_KEYS_FILE": str(file)})


def test_bad_key_is_not_repeated() -> None:
    with pytest.raises(WebSettingsError) as failure:
        WebSettings.from_environment({"MARSERVE_API_KEYS": f"{KEY},secret"})
    assert "secret" not in str(failure.value)
    assert KEY not in str(failure.value)


def test_a_wrong_address_is_named_without_its_password() -> None:
    given = {"MARSERVE_CACHE_URL": "http://me:canary@cache:6379/0"}
    with pytest.raises(WebSettingsError, match=r"MARSERVE_CACHE_URL = 'http://me:\.\.\.@cache:6379/0'") as refused:
        WebSettings.from_environment(given)
    assert "canary" not in str(refused.value)
