"""A version on trial gets its share of the live pictures, and callers lose nothing by it."""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from marserve.web.rollout import traffic
from marserve.web.rollout.comparisons import MAX_COMPARED
from marserve.web.rollout.files import LIFETIME_S, Counts, Order, Seen, seen_beside
from marserve.web.rollout.traffic import Turns
from tests.unit.web.fake_torchserve import TRAINED, FakeTorchServe, java_error
from tests.unit.web.service import Reply, Service, StartService, until, until_seen

pytestmark = pytest.mark.anyio

Behaviour = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]

_numbers = itertools.count()


def order(**changes: Any) -> Order:
    given = {
        "id": "one",
        "model": "resnet18",
        "stable": "1.0",
        "candidate": "2.0",
        "mode": "canary",
        "share": 1.0,
        "expires": time.monotonic() + LIFETIME_S,
    }
    return Order.model_validate({**given, **changes})


class Trial:
    """A service with two versions, and the file in which it is told of a trial."""

    def __init__(self, service: Service, torchserve: FakeTorchServe, file: Path) -> None:
        self.service = service
        self.torchserve = torchserve
        self.file = file
        self._renewing: asyncio.Task[None] | None = None

    async def begin(self, **changes: Any) -> None:
        """Renews an order, and returns when the service follows it."""
        self._renewing = asyncio.create_task(self._renew(changes))
        await until(lambda: self._follows(changes.get("id", "one")))

    async def _renew(self, changes: dict[str, Any]) -> None:
        while True:
            order(**changes).write(self.file)
            await asyncio.sleep(1)

    async def end(self) -> None:
        """No more orders."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])

    async def _follows(self, wanted: str | None) -> bool:
        seen = Seen.read(seen_beside(self.file))
        return seen is not None and seen.order == wanted

    async def counts(self, is_enough: Callable[[Counts], bool]) -> Counts:
        """What was seen, once it is enough."""
        found = Counts()

        async def look() -> bool:
            nonlocal found
            seen = Seen.read(seen_beside(self.file))
            assert seen is not None
            found = seen.counts
            return is_enough(found)

        await until(look)
        return found

    def candidate_is(self, behaviour: Behaviour) -> None:
        """Have the candidate's workers behave so; the stable version's answer."""

        async def behave(request: web.Request, picture: bytes) -> web.StreamResponse:
            is_candidate = request.match_info["version"] == "2.0"
            return await (behaviour if is_candidate else self.torchserve.answer)(request, picture)

        self.torchserve.behaviour = behave

    async def send(self, path: str = "/classify", **options: Any) -> Reply:
        """A picture that nobody has sent before."""
        return await self.service.post(path, b"picture %d" % next(_numbers), **options)

    def asked(self, version: str) -> int:
        return sum(path.endswith(f"/{version}") for path in self.torchserve.paths)


@pytest.fixture
async def trial(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Trial]:
    monkeypatch.setattr(traffic, "REFRESH_S", 0.05)
    torchserve.archives["resnet18", "2.0"] = {**TRAINED, "inputs_sha256": "b" * 64}
    file = tmp_path / "rollout.json"
    trial = Trial(await start_service(rollout_file=file), torchserve, file)
    yield trial
    await trial.end()


def versions(replies: list[Reply]) -> Counter[str]:
    assert {reply.status for reply in replies} == {200}
    return Counter(reply.headers["X-Model-Version"] for reply in replies)


async def died(_request: web.Request, _picture: bytes) -> web.StreamResponse:
    return java_error(500, "InternalServerException", "Worker died.")


async def no_memory(_request: web.Request, _picture: bytes) -> web.StreamResponse:
    return java_error(507, "OutOfMemoryError", "x")


async def raised(_request: web.Request, _picture: bytes) -> web.StreamResponse:
    return java_error(503, "InternalServerException", "Prediction failed")


async def refused(_request: web.Request, _picture: bytes) -> web.StreamResponse:
    return web.json_response({"code": 400, "type": "InvalidImage", "message": "It is damaged."}, status=400)


async def garbage(_request: web.Request, _picture: bytes) -> web.StreamResponse:
    return web.Response(body=b"<html>")


async def hung(_request: web.Request, _picture: bytes) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def other(_request: web.Request, picture: bytes) -> web.StreamResponse:
    predictions = [{"class_id": 9, "wnid": None, "label": "something else", "probability": 1.0}]
    return web.json_response({"model": "resnet18", "predictions": predictions})


@pytest.mark.parametrize("share", [0.1, 0.05, 0.25, 0.333, 1.0])
def test_a_share_is_exact_and_never_a_matter_of_chance(share: float) -> None:
    turns = Turns()
    assert sum(turns.take(share) for _ in range(1000)) == int(share * 1000)


def test_pictures_that_belong_together_do_not_change_the_share() -> None:
    turns = Turns()
    sizes = [1, 32, 5, 8, 1, 1, 17] * 300
    taken = sum(size for size in sizes if turns.take(0.1, size))
    assert abs(taken - 0.1 * sum(sizes)) <= 32


async def test_a_canary_answers_its_share_and_each_answer_says_who_gave_it(trial: Trial) -> None:
    await trial.begin(share=0.1)
    replies = [await trial.send() for _ in range(50)]
    assert versions(replies) == {"1.0": 45, "2.0": 5}
    assert {reply.headers["X-Cache"] for reply in replies} == {"miss"}
    assert all(reply.json["version"] == reply.headers["X-Model-Version"] for reply in replies)
    counts = await trial.counts(lambda seen: (seen.live, seen.answered) == (50, 5) and seen.compared + seen.dropped > 0)
    assert (counts.failures, counts.disagreed) == (0, 0)
    assert await trial.service.metric('web_rollout_share{mode="canary",model="resnet18",version="2.0"}') == 0.1
    labels = 'model="resnet18",outcome="computed",version="2.0"'
    assert await trial.service.metric(f"web_answers_total{{{labels}}}") == 5


async def test_each_version_has_results_of_its_own(trial: Trial) -> None:
    before = await trial.service.post("/classify", b"the same")
    await trial.begin()
    replies = [await trial.service.post("/classify", b"the same") for _ in range(2)]
    seen = [(reply.headers["X-Model-Version"], reply.headers["X-Cache"]) for reply in (before, *replies)]
    assert seen == [("1.0", "miss"), ("2.0", "miss"), ("2.0", "hit")]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (died, "worker_died"),
        (no_memory, "failed"),
        (raised, "failed"),
        (garbage, "failed"),
        (refused, "refused"),
        (hung, "slow"),
    ],
)
@pytest.mark.parametrize("path", ["/classify", "/explain"])
async def test_what_a_canary_does_not_answer_the_stable_version_does(
    trial: Trial, behaviour: Behaviour, reason: str, path: str
) -> None:
    await trial.begin()
    trial.candidate_is(behaviour)
    # What is left when a hung one is given up must be enough for the other, on any machine.
    replies = await asyncio.gather(*(trial.send(path, headers={"X-Request-Timeout-Ms": "6000"}) for _ in range(4)))
    assert versions(list(replies)) == {"1.0": 4}
    counts = await trial.counts(lambda seen: sum(seen.failed.values()) == 4)
    assert reason in counts.failed
    assert counts.answered == 0
    labels = f'model="resnet18",reason="{reason}",version="2.0"'
    assert await trial.service.metric(f"web_rollout_failures_total{{{labels}}}") >= 1


async def test_workers_that_end_are_counted_by_themselves(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = trial.torchserve._entry
    await trial.begin(mode="shadow", share=0.1)
    for pid in (201, 202):
        worker = {"id": "9", "pid": pid, "status": "READY"}
        monkeypatch.setattr(
            trial.torchserve,
            "_entry",
            lambda name, version, full, worker=worker: {
                **entry(name, version, full),
                **({"workers": [worker]} if version == "2.0" else {}),
            },
        )
        await until_seen(trial.torchserve)
    assert (await trial.counts(lambda seen: seen.ended_workers == 2)).failures == 0


async def test_where_a_worker_ends_no_other_of_the_canary_is_tried(trial: Trial) -> None:
    await trial.begin()
    trial.candidate_is(died)
    assert versions([await trial.send()]) == {"1.0": 1}
    await asyncio.sleep(0.5)
    assert trial.asked("2.0") == 1


async def test_what_neither_version_answers_is_no_fault_of_the_candidate(trial: Trial) -> None:
    await trial.begin()
    trial.torchserve.behaviour = refused
    reply = await trial.send()
    assert (reply.status, reply.json["type"]) == (400, "InvalidImage")
    trial.torchserve.behaviour = trial.torchserve.answer
    counts = await trial.counts(lambda seen: seen.live == 1)
    assert counts.failures == 0


async def test_a_slow_canary_that_is_still_the_first_is_taken(trial: Trial) -> None:
    async def slow(request: web.Request, picture: bytes) -> web.StreamResponse:
        await asyncio.sleep(1.2)
        return await trial.torchserve.answer(request, picture)

    await trial.begin()
    trial.torchserve.behaviour = slow
    reply = await trial.send(headers={"X-Request-Timeout-Ms": "2000"})
    assert versions([reply]) == {"2.0": 1}


async def test_a_candidate_without_workers_is_sent_nothing(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = trial.torchserve._entry
    monkeypatch.setattr(
        trial.torchserve,
        "_entry",
        lambda name, version, full: {**entry(name, version, full), **({"workers": []} if version == "2.0" else {})},
    )
    await until_seen(trial.torchserve)
    await trial.begin()
    assert versions([await trial.send() for _ in range(3)]) == {"1.0": 3}
    assert (await trial.counts(lambda seen: sum(seen.failed.values()) == 3)).failed == {"no_worker": 3}


async def test_shadow_compares_a_share_and_leaves_every_answer_alone(trial: Trial) -> None:
    await trial.begin(mode="shadow", share=0.5)
    trial.candidate_is(other)
    replies = []
    for _ in range(40):
        replies.append(await trial.send())
        await asyncio.sleep(0.02)
    assert versions(replies) == {"1.0": 40}
    counts = await trial.counts(lambda seen: seen.live == 40 and seen.compared + seen.dropped == 20)
    assert counts.compared == counts.answered == counts.disagreed > 10
    labels = 'model="resnet18",result="disagreed",version="2.0"'
    assert await trial.service.metric(f"web_rollout_comparisons_total{{{labels}}}") == counts.compared


async def test_pairs_are_of_pictures_that_each_version_was_sent_alone(trial: Trial) -> None:
    async def slower(request: web.Request, picture: bytes) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return await trial.torchserve.answer(request, picture)

    await trial.begin(mode="shadow")
    trial.candidate_is(slower)
    for _ in range(12):
        await asyncio.gather(*(trial.send() for _ in range(3)))
        await asyncio.sleep(0.1)
    counts = await trial.counts(lambda seen: len(seen.pairs) >= 3)
    assert all(candidate > stable + 25_000 for stable, candidate in counts.pairs)


@pytest.mark.parametrize("behaviour", [died, hung, raised])
async def test_nobody_waits_for_a_shadow(trial: Trial, behaviour: Behaviour) -> None:
    await trial.begin(mode="shadow")
    trial.candidate_is(behaviour)
    began = time.monotonic()
    assert versions([await trial.send() for _ in range(20)]) == {"1.0": 20}
    assert time.monotonic() - began < 5
    assert trial.asked("2.0") <= 20
    if behaviour is not hung:
        assert (await trial.counts(lambda seen: sum(seen.failed.values()) > 0)).disagreed == 0


async def test_copies_are_dropped_where_workers_are_busy(trial: Trial) -> None:
    opened = asyncio.Event()

    async def wait(request: web.Request, picture: bytes) -> web.StreamResponse:
        if request.match_info["version"] == "2.0":
            await opened.wait()
        return await trial.torchserve.answer(request, picture)

    trial.torchserve.behaviour = wait
    await trial.begin(mode="shadow")
    for _ in range(30):
        await trial.send()
    assert trial.asked("2.0") <= MAX_COMPARED
    await trial.counts(lambda seen: seen.live == 30 and seen.dropped >= 30 - MAX_COMPARED)
    opened.set()


async def test_repeated_pictures_are_not_compared_again(trial: Trial) -> None:
    await trial.begin(mode="shadow")
    for _ in range(10):
        await trial.service.post("/classify", b"the same")
        await asyncio.sleep(0.02)
    counts = await trial.counts(lambda seen: seen.live == 10 and seen.compared + seen.dropped > 0)
    assert counts.compared + counts.dropped == 1


async def test_a_pinned_picture_is_no_live_traffic(trial: Trial) -> None:
    await trial.begin()
    replies = [await trial.send(headers={"X-Model-Version": version}) for version in ("1.0", "2.0", "1.0")]
    assert [reply.headers["X-Model-Version"] for reply in replies] == ["1.0", "2.0", "1.0"]
    assert versions([await trial.send()]) == {"2.0": 1}
    assert (await trial.counts(lambda seen: seen.live > 0)).live == 1


@pytest.mark.parametrize("behaviour", [None, died])
async def test_one_request_of_many_pictures_is_answered_by_one_version(
    trial: Trial, behaviour: Behaviour | None
) -> None:
    await trial.begin(share=0.5)
    if behaviour is not None:
        trial.candidate_is(behaviour)
    said = []
    for _ in range(4):
        data = [base64.b64encode(b"of many %d" % next(_numbers)).decode() for _ in range(3)]
        tensor = {"name": "image", "datatype": "BYTES", "shape": [3], "data": data}
        reply = await trial.service.ask("POST", "/v2/models/resnet18/infer", json={"inputs": [tensor]})
        assert reply.status == 200
        assert [len(output["data"]) for output in reply.json["outputs"]] == [30, 15, 15]
        said.append(reply.json["model_version"])
    counts = await trial.counts(lambda seen: seen.answered + sum(seen.failed.values()) == 6)
    if behaviour is None:
        assert (said.count("2.0"), counts.answered) == (2, 6)
    else:
        assert (set(said), counts.failed) == ({"1.0"}, {"worker_died": 6})


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"{", id="damaged"),
        pytest.param(b"\xff" * 100, id="no text"),
        pytest.param(order(expires=0.0).model_dump_json().encode(), id="expired"),
        pytest.param(order(candidate="3.0").model_dump_json().encode(), id="not served"),
        pytest.param(b'{"share": 2}', id="impossible"),
    ],
)
async def test_an_order_that_does_not_count_is_none(trial: Trial, content: bytes) -> None:
    await trial.begin()
    assert versions([await trial.send()]) == {"2.0": 1}
    await trial.end()
    trial.file.write_bytes(content)
    await until(lambda: trial._follows(None))
    assert versions([await trial.send() for _ in range(5)]) == {"1.0": 5}


async def test_an_order_from_before_a_reboot_or_for_another_default_is_none(trial: Trial) -> None:
    order(expires=time.monotonic() + 1e6).write(trial.file)
    await asyncio.sleep(1.5)
    assert versions([await trial.send() for _ in range(3)]) == {"1.0": 3}
    order(stable="0.9", candidate="1.0").write(trial.file)
    await asyncio.sleep(1.5)
    assert versions([await trial.send() for _ in range(3)]) == {"1.0": 3}


async def test_an_order_that_is_not_renewed_ends_by_itself(trial: Trial) -> None:
    given = order(expires=time.monotonic() + 1.2)
    given.write(trial.file)
    seen = set()
    while time.monotonic() < given.expires + 1:
        is_over = time.monotonic() >= given.expires
        version = (await trial.send()).headers["X-Model-Version"]
        seen.add(version)
        assert version == "1.0" or not is_over
    assert seen == {"1.0", "2.0"}
    await until(lambda: trial._follows(None))


async def test_a_disk_that_takes_nothing_costs_no_answer(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    seen_beside(trial.file).mkdir()  # in its place no file can be
    order().write(trial.file)

    async def is_told() -> bool:
        return "cannot be written" in caplog.text

    await until(is_told)
    assert versions([await trial.send()]) == {"2.0": 1}


async def test_what_was_begun_under_one_order_is_not_counted_under_the_next(trial: Trial) -> None:
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request, picture: bytes) -> web.StreamResponse:
        is_asked.set()
        await may_answer.wait()
        return await trial.torchserve.answer(request, picture)

    trial.candidate_is(wait)
    await trial.begin(mode="shadow")
    await trial.send()
    await is_asked.wait()
    await trial.end()
    await trial.begin(id="two", mode="shadow")
    may_answer.set()
    await until(lambda: is_compared(trial.service))
    assert (await trial.send()).status == 200
    counts = await trial.counts(lambda counts: counts.live == 1 and counts.compared > 0)
    assert (counts.compared, counts.answered) == (1, 1), "of the second order's picture alone"


async def is_compared(service: Service) -> bool:
    line = 'web_rollout_comparisons_total{model="resnet18",result="%s",version="2.0"}'
    return sum([await service.metric(line % result) for result in ("agreed", "disagreed")]) > 0
