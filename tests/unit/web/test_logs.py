"""Lines of the log are written together, and none is lost."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
from collections.abc import Iterator

import pytest

from marserve.web import logs
from marserve.web.logs import BatchHandler, JsonFormatter


class Stream(io.StringIO):
    """Counts its writes."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)

    @property
    def messages(self) -> list[str]:
        return [json.loads(line)["message"] for line in self.getvalue().splitlines()]


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def logger(stream: Stream) -> Iterator[logging.Logger]:
    handler = BatchHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


def test_lines_of_a_moment_are_one_write(
    stream: Stream, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "WRITE_EVERY_S", 0.01)

    async def work() -> None:
        for number in range(3):
            logger.info("%d", number)
        assert stream.messages == []
        while not stream.messages:
            await asyncio.sleep(0.005)
        logger.info("later")
        while len(stream.messages) < 4:
            await asyncio.sleep(0.005)

    asyncio.run(work())
    assert stream.messages == ["0", "1", "2", "later"]
    assert stream.writes == 2


def test_a_warning_is_written_at_once_after_what_came_before_it(stream: Stream, logger: logging.Logger) -> None:
    async def work() -> None:
        logger.info("first")
        logger.warning("second")
        assert stream.messages == ["first", "second"]

    asyncio.run(work())


def test_many_lines_do_not_wait(stream: Stream, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_WAITING_LINES", 3)

    async def work() -> None:
        for number in range(7):
            logger.info("%d", number)
        assert stream.messages == ["0", "1", "2", "3", "4", "5"]

    asyncio.run(work())


def test_what_waits_when_a_loop_ends_is_written_by_the_next_line_or_the_end(
    stream: Stream, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(message: str) -> None:
        logger.info(message)

    asyncio.run(work("one"))
    monkeypatch.setattr(logs, "WRITE_EVERY_S", 0.0)

    async def work_on() -> None:
        await work("two")
        while not stream.messages:
            await asyncio.sleep(0.005)

    asyncio.run(work_on())
    assert stream.messages == ["one", "two"]
    asyncio.run(work("three"))
    logger.handlers[0].flush()  # as logging does when the process ends
    assert stream.messages == ["one", "two", "three"]


def test_a_line_outside_of_a_loop_is_written_at_once(stream: Stream, logger: logging.Logger) -> None:
    logger.info("alone")
    assert stream.messages == ["alone"]


class FullStream(io.StringIO):
    """Of a disk that is full as long as it is."""

    is_full = True

    def flush(self) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_loses_lines_and_says_how_many_when_there_is_room(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    full = FullStream()
    handler = logs.BatchHandler(full)
    handler.setFormatter(logs.JsonFormatter())
    logger.handlers[:] = [handler]
    for number in range(5):
        logger.error("lost %d", number)
    full.is_full = False
    full.truncate(0)
    full.seek(0)
    logger.error("there")
    logger.error("and more")
    told = [json.loads(line)["message"] for line in full.getvalue().splitlines() if line]
    assert told == ["5 lines of this log could not be written before this one", "there", "and more"]
    assert capsys.readouterr().err == ""
