"""The way to a valid token: the flow by itself, its synchronous driver, and several processes at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import anyio
import pytest

from marserve.system.files import locked
from marserve.system.loopback import free_ports, request
from marserve.torchserve.key_file import (
    KINDS,
    LOCK_ATTEMPTS,
    READ_ATTEMPTS,
    Flow,
    KeyFileError,
    Keys,
    NoKeyFileError,
    Pause,
    ReadFile,
    Renew,
    Step,
    Token,
    TryLock,
    is_refusal,
    keys_as_written,
    read_keys,
    valid_keys,
    valid_token,
)
from marserve.web.upstream.connection import KeyFileTokens
from tests.unit.torchserve.key_files import HOUR, GuardedServer, guarded_server, key_file_text

FILE = Path("key_file.json")
SOON = timedelta(minutes=4)
HALF = '{"inference": {"key"'
GOOD, OLD = key_file_text("good"), key_file_text("old", SOON)


def drive(flow: Flow, *, texts: list[str | None], locks: tuple[bool, ...] = (True,), status: int | None = 200) -> str:
    """The steps of the flow by their initials and the token it found, where the file has ``texts`` one by one."""
    steps = ""
    # It is about to expire now, not minutes after these tests were read.
    reads, tries = iter([key_file_text("old", SOON) if text == OLD else text for text in texts]), iter(locks)
    step: Step = next(flow)
    try:
        while True:
            steps += {ReadFile: "R", TryLock: "L", Pause: "-", Renew: "N"}[type(step)]
            if isinstance(step, ReadFile):
                step = flow.send(next(reads))
            elif isinstance(step, TryLock):
                step = flow.send(next(tries))
            elif isinstance(step, Renew):
                assert (step.path, step.api_key) == ("/token?type=inference", "api")
                step = flow.send(status)
            else:
                step = flow.send(None)
    except StopIteration as done:
        return f"{steps} {done.value.tokens['inference'].key}"


@pytest.mark.parametrize(
    ("texts", "locks", "taken"),
    [
        pytest.param([GOOD], (), "R good", id="fresh"),
        pytest.param([HALF, "", GOOD], (), "R-R-R good", id="half-written"),
        pytest.param([OLD, OLD, GOOD], (True,), "RLRNR good", id="about-to-expire"),
        pytest.param([OLD, OLD, HALF, GOOD], (True,), "RLRNR-R good", id="half-written-after-the-renewal"),
        pytest.param([OLD, GOOD], (False, False, True), "RL-L-LR good", id="renewed-by-another-process-meanwhile"),
        pytest.param([key_file_text("bad")] * 2 + [GOOD], (True,), "RLRNR good", id="refused"),
        pytest.param([key_file_text("bad"), GOOD], (True,), "RLR good", id="refused-and-renewed-meanwhile"),
    ],
)
def test_a_token_is_renewed_only_where_the_file_has_no_valid_one(
    texts: list[str | None], locks: tuple[bool, ...], taken: str
) -> None:
    assert drive(valid_keys(FILE, "inference", "bad"), texts=texts, locks=locks) == taken


def test_a_token_that_cannot_be_renewed_serves_as_long_as_it_is_valid() -> None:
    assert drive(valid_keys(FILE, "inference"), texts=[OLD, OLD], status=None) == "RLRN old"


@pytest.mark.parametrize("text", ["garbage", None], ids=["overwritten", "lost"])
def test_a_file_that_is_lost_is_had_again_with_the_keys_that_were_in_it(text: str | None) -> None:
    known = Keys({kind: Token("old", datetime.now(timezone.utc) + HOUR) for kind in KINDS}, "api")
    reads = [text] if text is None else [text] * READ_ATTEMPTS
    taken = drive(valid_keys(FILE, "inference", known=known), texts=[*reads, GOOD])
    assert taken == f"{'R' if text is None else 'R-' * READ_ATTEMPTS}LNR good"


@pytest.mark.parametrize(
    ("texts", "locks", "status", "message"),
    [
        ([None], (), 200, r"key_file\.json cannot be read"),
        ([HALF] * READ_ATTEMPTS, (), 200, r"key_file\.json cannot be read"),
        ([OLD], (False,) * LOCK_ATTEMPTS, 200, "Another process"),
        ([key_file_text("x", -HOUR)] * 2, (True,), None, "answered nothing to the request to renew its inference"),
        ([key_file_text("x", -HOUR)] * 2, (True,), 500, "answered status 500"),
        ([key_file_text("bad")] * 2, (True,), 500, "answered status 500"),
    ],
    ids=["absent", "never whole", "lock held", "no answer", "failure", "refused"],
)
def test_no_valid_token_is_an_error_that_says_why(
    texts: list[str | None], locks: tuple[bool, ...], status: int | None, message: str
) -> None:
    with pytest.raises(KeyFileError, match=message):
        drive(valid_keys(FILE, "inference", "bad"), texts=texts, locks=locks, status=status)


@pytest.mark.parametrize("decimals", ["Z", ".5Z", ".123456Z", ".123456789Z"])
def test_javas_times_are_read_with_any_number_of_decimals(decimals: str, tmp_path: Path) -> None:
    file = tmp_path / "key_file.json"
    file.write_text(key_file_text("key", HOUR, decimals))
    left = read_keys(file).tokens["management"].expires - datetime.now(timezone.utc)
    assert timedelta(minutes=59) < left <= HOUR


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (400, {"code": 400, "type": "InvalidKeyException", "message": "Token Authorization failed."}, True),
        (400, {"code": 400, "type": "InvalidImage", "message": "InvalidKeyException"}, False),
        (503, {"code": 503, "type": "InvalidKeyException"}, False),
        (400, ["InvalidKeyException"], False),
    ],
)
def test_a_refused_token_is_told_from_other_refusals(status: int, body: object, refused: bool) -> None:
    assert is_refusal(status, json.dumps(body).encode()) == refused


def test_a_refusal_that_is_no_json_is_none() -> None:
    assert not is_refusal(400, b"InvalidKeyException")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardedServer]:
    with guarded_server(tmp_path / "key_file.json", SOON) as server:
        yield server


def token_of(server: GuardedServer, refused: str | None = None) -> str:
    return valid_token(server.key_file, server.port, "inference", refused).key


def test_the_synchronous_driver_renews_and_releases_the_lock(guarded: GuardedServer) -> None:
    assert token_of(guarded) == "renewed 1"
    with locked(guarded.key_file.with_name("token.lock"), timeout_s=0):
        pass
    assert token_of(guarded, "renewed 1") == "renewed 2"


def test_a_key_file_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "key_file.json"
    file.write_text(HALF)
    writer = threading.Timer(0.3, file.write_text, (key_file_text("whole"),))
    writer.start()
    assert read_keys(file).tokens["inference"].key == "whole"
    writer.join()


def test_an_absent_key_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(NoKeyFileError, match=str(tmp_path / "key_file.json")):
        read_keys(tmp_path / "key_file.json")


def test_a_management_api_that_is_gone_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "key_file.json"
    file.write_text(key_file_text("old", -HOUR))
    with pytest.raises(KeyFileError, match="answered nothing"):
        valid_token(file, free_ports(1)[0], "inference")


def test_a_directory_without_a_lock_hinders_no_renewal(guarded: GuardedServer) -> None:
    guarded.key_file.with_name("token.lock").mkdir()  # as unusable as in a directory that is read-only
    assert token_of(guarded) == "renewed 1"


RENEW = """
import sys
from pathlib import Path
from marserve.torchserve.key_file import valid_token
input()
print(valid_token(Path(sys.argv[1]), int(sys.argv[2]), "inference", "first").key)
"""


def test_processes_that_renew_at_once_leave_each_other_a_valid_token(guarded: GuardedServer) -> None:
    guarded.renewal_s = 0.3
    command = [sys.executable, "-c", RENEW, str(guarded.key_file), str(guarded.port)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    found = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert (found, guarded.valid, guarded.renewals) == ({"renewed 1"}, "renewed 1", 1)


def test_the_web_service_and_a_command_that_renew_at_once_leave_each_other_a_valid_token(
    guarded: GuardedServer,
) -> None:
    guarded.renewal_s = 0.3

    async def renew(step: Renew) -> int | None:
        """As the web service does, over a connection of its own."""
        reply = await anyio.to_thread.run_sync(lambda: request("GET", guarded.port, step.path, token=step.api_key))
        return None if reply is None else reply.status

    async def both() -> tuple[str, str | None]:
        tokens = KeyFileTokens(guarded.key_file, renew)
        await tokens.replace("inference", None)
        assert tokens.current("inference") == "first"
        found: list[str] = []

        async def synchronously() -> None:
            found.append(await anyio.to_thread.run_sync(token_of, guarded, "first"))

        async with anyio.create_task_group() as group:
            group.start_soon(synchronously)
            group.start_soon(tokens.replace, "inference", "first")
        return found[0], tokens.current("inference")

    guarded.key_file.write_text(key_file_text("first"))
    assert anyio.run(both) == ("renewed 1", "renewed 1")
    assert (guarded.valid, guarded.renewals) == ("renewed 1", 1)


def test_keys_as_written_need_no_lock() -> None:
    assert drive(keys_as_written(FILE), texts=[OLD]) == "R old"
