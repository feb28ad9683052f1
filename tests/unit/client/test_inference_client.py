"""InferenceClient: what it sends, what it repeats, what it raises."""

from __future__ import annotations

import io
import itertools
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from marserve.client.connection import Backoff, Connection
from marserve.client.credentials import ApiKey
from marserve.client.errors import (
    ClientError,
    InvalidAnswer,
    PictureUnreadable,
    Refused,
    ServerFailed,
    ServerOverloaded,
    TimedOut,
    Unreachable,
)
from marserve.client.inference import Classification, InferenceClient, Picture
from marserve.system.loopback import free_ports
from tests.unit.fake_server import Answer, FakeServer, classification, error

SOON = Backoff(first_s=0.01, longest_s=0.02)


def web_client(server: FakeServer, *, deadline_s: float = 10.0, api_key: str | None = None) -> InferenceClient:
    return InferenceClient.for_web(server.url, api_key=api_key, deadline_s=deadline_s, backoff=SOON)


@pytest.mark.parametrize(
    "picture",
    [lambda _: b"picture", lambda _: io.BytesIO(b"picture"), lambda file: file, str],
    ids=["bytes", "open file", "path", "name"],
)
def test_every_kind_of_picture_is_sent_as_it_is(
    server: FakeServer, tmp_path: Path, picture: Callable[[Path], Picture]
) -> None:
    file = tmp_path / "picture.jpg"
    file.write_bytes(b"picture")
    with web_client(server, api_key="secret") as client:
        answer = client.classify(picture(file), top_k=3)
    assert answer.predictions[0].label == "tabby"
    assert (answer.model, answer.version, answer.weights) == ("resnet18", "1.0", "trained")
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/classify?top_k=3", b"picture")
    assert request.headers["X-API-Key"] == "secret"
    assert request.headers["Content-Type"] == "application/octet-stream"


def test_a_callers_headers_go_along_and_change_none_of_its_own(server: FakeServer) -> None:
    trace = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "Content-Type": "text/plain"}
    with web_client(server) as client:
        client.classify(b"picture", headers=trace)
        client.explain(b"picture", headers=trace)
    for request in server.requests:
        assert request.headers["traceparent"] == trace["traceparent"]
        assert request.headers["Content-Type"] == "application/octet-stream"


def test_an_explanation_says_where(server: FakeServer) -> None:
    explanation = {"map": [[0.5, 1.0]], "crop": {"left": 0, "top": 0, "right": 1, "bottom": 1}}
    server.answers = [Answer(content={**classification(), "explanation": explanation})]
    with web_client(server) as client:
        answer = client.explain(b"picture")
    assert answer.explanation is not None
    assert answer.explanation.map == [[0.5, 1.0]]
    assert server.requests[0].path == "/explain?top_k=5"


@pytest.mark.parametrize(("version", "path"), [(None, "/predictions/resnet18"), ("2.0", "/predictions/resnet18/2.0")])
def test_torchserve_gets_requests_of_its_own_form(server: FakeServer, version: str | None, path: str) -> None:
    content = classification()
    del content["version"], content["weights"]
    server.answers = [Answer(content=content)]
    with InferenceClient.for_torchserve(server.url, "resnet18", version) as client:
        answer = client.classify(b"picture", top_k=7)
    assert (answer.version, answer.weights) == (version, None)
    assert (server.requests[0].path, server.requests[0].headers["X-Top-K"]) == (path, "7")


def test_the_service_learns_how_long_each_attempt_is_worth_something(server: FakeServer) -> None:
    server.answers = [error(503, "Overloaded", Retry_After="1"), Answer(content=classification())]
    with web_client(server) as client:
        client.classify(b"picture", deadline_s=7)
    first, second = (int(request.headers["X-Request-Timeout-Ms"]) for request in server.requests)
    assert 5000 < first <= 7000
    assert second <= first - 1000


def test_what_is_left_of_a_short_deadline_is_never_nothing(server: FakeServer) -> None:
    with web_client(server) as client, suppress(ClientError):
        client.classify(b"picture", deadline_s=0.0005)
    assert all(int(request.headers["X-Request-Timeout-Ms"]) >= 1 for request in server.requests)


def test_bulk_lets_others_go_first(server: FakeServer) -> None:
    with InferenceClient.for_web(server.url, bulk=True) as client:
        client.classify(b"picture")
    with web_client(server) as client:
        client.classify(b"picture")
    assert [request.headers.get("X-Priority") for request in server.requests] == ["bulk", None]


def test_a_version_can_be_pinned(server: FakeServer) -> None:
    with InferenceClient.for_web(server.url, version="2.0") as client:
        client.classify(b"picture")
    with web_client(server) as client:
        client.classify(b"picture")
    assert [request.headers.get("X-Model-Version") for request in server.requests] == ["2.0", None]


def test_torchserve_is_sent_nothing_that_it_does_not_read(server: FakeServer) -> None:
    with InferenceClient.for_torchserve(server.url, "resnet18") as client:
        client.classify(b"picture")
    assert not {"X-Request-Timeout-Ms", "X-Priority"} & set(server.requests[0].headers)


@pytest.mark.parametrize(
    "failure",
    [error(503, "Overloaded"), error(504, "DeadlineExceeded", Retry_After="0"), Answer(breaks=True)],
    ids=["overloaded", "the server's own deadline", "connection broken"],
)
def test_what_may_pass_is_retried(server: FakeServer, failure: Answer) -> None:
    server.answers = [failure, failure, Answer(content=classification())]
    with web_client(server) as client:
        assert client.classify(b"picture").predictions[0].label == "tabby"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (error(400, "InvalidImage"), Refused),
        (error(401, "ApiKeyRequired"), Refused),
        (error(413, "ImageTooLarge"), Refused),
        (error(429, "RateLimited", Retry_After="1"), Refused),
        (error(500, "InternalError"), ServerFailed),
        (error(502, "InferenceFailed"), ServerFailed),
        (error(504, "DeadlineExceeded"), ServerFailed),
    ],
    ids=lambda value: value.content["type"] if isinstance(value, Answer) else "",
)
def test_any_other_status_is_raised_at_once_with_what_the_server_said(
    server: FakeServer, failure: Answer, raised: type[ClientError]
) -> None:
    server.answers = [failure]
    with web_client(server) as client, pytest.raises(raised, match="Do something else") as caught:
        client.classify(b"picture")
    assert caught.value.as_json() == failure.content
    assert len(server.requests) == 1


def test_the_server_says_how_long_to_wait(server: FakeServer) -> None:
    server.answers = [error(503, "Overloaded", Retry_After="1"), Answer(content=classification())]
    started = time.monotonic()
    with web_client(server) as client:
        client.classify(b"picture")
    assert time.monotonic() - started >= 1


def test_a_wait_beyond_the_deadline_is_not_begun(server: FakeServer) -> None:
    server.answers = [error(503, "Overloaded", Retry_After="3600")]
    with web_client(server) as client, pytest.raises(ServerOverloaded) as caught:
        client.classify(b"picture")
    assert caught.value.retry_after_s == 3600
    assert len(server.requests) == 1


def test_overload_ends_with_the_deadline(server: FakeServer) -> None:
    server.answers = [error(503, "Overloaded")]
    with web_client(server, deadline_s=0.6) as client, pytest.raises(ServerOverloaded):
        client.classify(b"picture")
    assert len(server.requests) > 2


def test_no_answer_ends_with_the_deadline_and_is_not_repeated(server: FakeServer) -> None:
    server.answers = [Answer(content=classification(), after_s=3)]
    with web_client(server, deadline_s=0.3) as client, pytest.raises(TimedOut):
        client.classify(b"picture")
    assert len(server.requests) == 1


def test_nobody_there_is_unreachable() -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with (
        InferenceClient.for_web(url, deadline_s=0.6, backoff=SOON) as client,
        pytest.raises(Unreachable, match="running"),
    ):
        client.classify(b"picture")


@pytest.mark.parametrize("content", [b"<html>", [], {"model": "x"}, {"predictions": []}])
def test_an_answer_of_another_kind_of_server_is_an_error(server: FakeServer, content: object) -> None:
    server.answers = [Answer(content=content)]
    with web_client(server) as client, pytest.raises(InvalidAnswer, match="address"):
        client.classify(b"picture")


@pytest.mark.parametrize("body", [b"", b"[]", b"gateway broken"])
def test_an_error_in_no_known_shape_still_has_its_status(server: FakeServer, body: bytes) -> None:
    server.answers = [Answer(502, body)]
    with web_client(server) as client, pytest.raises(ServerFailed) as caught:
        client.classify(b"picture")
    assert (caught.value.status, caught.value.type) == (502, "ServerFailed")


def test_a_file_that_is_not_there_is_an_error_of_the_family(server: FakeServer, tmp_path: Path) -> None:
    with web_client(server) as client, pytest.raises(PictureUnreadable, match="No such file"):
        client.classify(tmp_path / "absent.jpg")
    assert not server.requests


@pytest.mark.parametrize("url", ["localhost:5000", "", "ftp://x"])
def test_an_impossible_address_is_refused_with_a_valid_one(url: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        InferenceClient.for_web(url)


@pytest.mark.parametrize("in_order", [True, False])
def test_many_pictures_have_an_answer_or_an_error_each(server: FakeServer, tmp_path: Path, in_order: bool) -> None:
    server.answers = [Answer(content=classification(), after_s=0.02)]
    pictures: list[Picture] = [str(number).encode() for number in range(40)]
    pictures[7] = tmp_path / "absent.jpg"
    with web_client(server) as client:
        answers = list(client.classify_many(pictures, parallel=4, in_order=in_order))
    assert len(answers) == len(pictures)
    assert {str(picture) for picture, _ in answers} == {str(picture) for picture in pictures}
    assert sum(isinstance(answer, Classification) for _, answer in answers) == 39
    assert 2 <= server.at_once <= 4
    if in_order:
        assert [picture for picture, _ in answers] == pictures


def test_pictures_without_end_are_taken_as_needed(server: FakeServer) -> None:
    with web_client(server) as client:
        answers = client.classify_many((b"picture" for _ in itertools.count()), parallel=2)
        assert len(list(itertools.islice(answers, 10))) == 10
        answers.close()
    assert len(server.requests) <= 10 + 2 * 2


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_what_is_sent_to_this_machine_needs_no_proxy(
    server: FakeServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_ports(1)[0]}")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
        with InferenceClient.for_web(url, deadline_s=2.0, backoff=SOON) as client:
            assert client.classify(b"picture").predictions[0].label == "tabby"


def test_a_proxy_is_used_for_other_machines(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    with InferenceClient.for_web("http://classifier.example:5000", deadline_s=5) as client:
        client.classify(b"picture")
    assert server.requests[0].path.startswith("http://classifier.example:5000/classify")


@pytest.mark.parametrize("last", [b"", b"\x15\x03\x01\x00\x02\x01\x00"], ids=["nothing", "close_notify"])
def test_a_connection_that_ends_in_its_handshake_is_unreachable(last: bytes) -> None:
    """Which is tried again: a service with TLS that is being started again does this."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def break_off() -> None:
            with server.accept()[0] as connection:
                connection.recv(100_000)
                connection.sendall(last)

        thread = threading.Thread(target=break_off)
        thread.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        connection = Connection(url, ApiKey(None), connections=1)
        with pytest.raises(Unreachable):
            connection.request("GET", "/", deadline_s=10, retry=False)
        connection.close()
        thread.join()
