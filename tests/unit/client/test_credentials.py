"""Tokens from the key file: renewed before they expire, and when they are refused."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from marserve.client.errors import CredentialsMissing, Refused
from marserve.client.inference import InferenceClient
from marserve.client.management import ManagementClient
from tests.unit.fake_server import FakeServer, error
from tests.unit.torchserve.key_files import GuardedServer, guarded_server, key_file_text


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardedServer]:
    with guarded_server(tmp_path / "key_file.json") as server:
        yield server


def inference(server: GuardedServer) -> InferenceClient:
    return InferenceClient.for_torchserve(
        server.url, "resnet18", key_file=server.key_file, management_url=server.url, deadline_s=10
    )


def test_the_token_of_the_key_file_is_shown(guarded: GuardedServer) -> None:
    with inference(guarded) as client:
        client.classify(b"picture")
    assert guarded.renewals == 0


def test_a_token_that_expires_soon_is_renewed_first(guarded: GuardedServer) -> None:
    guarded.key_file.write_text(key_file_text("first", timedelta(minutes=1)))
    with ManagementClient(guarded.url, key_file=guarded.key_file) as client:
        assert client.list_models() == []
    assert guarded.renewals == 1


def test_a_token_that_cannot_be_renewed_serves_on_and_is_not_tried_at_every_request(guarded: GuardedServer) -> None:
    guarded.key_file.write_text(key_file_text("first", timedelta(minutes=1)))
    guarded.renews = False
    with inference(guarded) as client:
        for _ in range(3):
            client.classify(b"picture")
    assert [request.path.partition("?")[0] for request in guarded.requests].count("/token") == 1


def test_a_refused_token_is_renewed_once_by_all_threads_together(guarded: GuardedServer) -> None:
    guarded.valid = "lost"
    with inference(guarded) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(client.classify, [b"picture"] * 8))
    assert len(answers) == 8
    assert guarded.renewals == 1


def test_a_token_that_another_process_renewed_is_read_again(guarded: GuardedServer) -> None:
    with inference(guarded) as client:
        client.classify(b"picture")
        guarded.valid = "other"
        guarded.key_file.write_text(key_file_text("other"))
        client.classify(b"picture")
    assert guarded.renewals == 0


def test_a_picture_that_is_refused_with_the_same_status_renews_nothing(server: FakeServer, tmp_path: Path) -> None:
    server.answers = [error(400, "InvalidImage")]
    key_file = tmp_path / "key_file.json"
    key_file.write_text(key_file_text("first"))
    client = InferenceClient.for_torchserve(server.url, "resnet18", key_file=key_file, management_url=server.url)
    with client, pytest.raises(Refused):
        client.classify(b"picture")
    assert len(server.requests) == 1


def test_no_key_file_is_an_error_of_the_family(server: FakeServer, tmp_path: Path) -> None:
    client = InferenceClient.for_torchserve(server.url, "resnet18", key_file=tmp_path / "key_file.json")
    with client, pytest.raises(CredentialsMissing, match=r"key_file\.json"):
        client.classify(b"picture")
