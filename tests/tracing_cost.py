"""What tracing costs the web service: microseconds of a processor for each request, in one paired run.

    python -m tests.tracing_cost [--before DIRECTORY] [--rounds 12] [--requests 1500]

Web services with different variables stand in front of the same stand-in for TorchServe, which answers at once, and are
loaded in turn, round after round. The kernel counts what a service's threads used, so that others on the machine change
little. A figure is the median of the rounds, a ratio the median of the rounds' own ratios to the first
service, with the middle half of them; beside it the best tenth of the rounds.
``--before`` is a checkout of an earlier state of the project, which comes first then.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import aiohttp

from marserve.paths import EXAMPLE_PICTURE
from marserve.system.loopback import free_ports
from tests.otlp_collector import otlp_collector
from tests.support import REPOSITORY
from tests.unit.web.fake_torchserve import FakeTorchServe

CLIENTS = 8
#: A photograph's.
PICTURE_BYTES = 110_000
TRACEPARENT = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}


class Candidate:
    """A web service as a process of its own."""

    def __init__(self, name: str, tree: Path, variables: dict[str, str], headers: dict[str, str] | None = None) -> None:
        self.name = name
        self.headers = headers or {}
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        paths = {"PYTHONPATH": f"{tree / 'src'}"}
        environment = {**os.environ, **paths, "MARSERVE_WEB_PORT": str(port), **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "marserve.web"], env=environment, stdout=subprocess.DEVNULL, cwd=tree
        )

    def used_ns(self) -> int:
        """Of a processor, by all its threads."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks)

    async def microseconds(self, session: aiohttp.ClientSession, pictures: list[bytes]) -> float:
        """Used for each of ``pictures``."""
        before = self.used_ns()
        left = iter(pictures)

        async def client() -> None:
            for picture in left:
                async with session.post(f"{self.url}/classify", data=picture, headers=self.headers) as answer:
                    body = await answer.read()
                    if answer.status != 200:
                        raise AssertionError(f"{self.name}: {answer.status} {body.decode()}")

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return (self.used_ns() - before) / len(pictures) / 1000


def pictures(count: int) -> list[bytes]:
    photograph = EXAMPLE_PICTURE.read_bytes()[:PICTURE_BYTES].ljust(PICTURE_BYTES)
    return [photograph + os.urandom(16) for _ in range(count)]


async def measure(candidates: list[Candidate], rounds: int, requests: int) -> None:
    known = pictures(1)
    figures: dict[tuple[str, str], list[float]] = {}
    async with aiohttp.ClientSession() as session:
        for candidate in candidates:
            while True:
                try:
                    async with session.get(f"{candidate.url}/readyz") as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.1)
            await candidate.microseconds(session, known + pictures(200))
        for number in range(rounds):
            for kind in ("hit", "miss"):
                # In turn from another one on: none is always first.
                for candidate in candidates[number % len(candidates) :] + candidates[: number % len(candidates)]:
                    sent = known * requests if kind == "hit" else pictures(requests)
                    used = await candidate.microseconds(session, sent)
                    figures.setdefault((kind, candidate.name), []).append(used)
    first = candidates[0].name
    for kind in ("hit", "miss"):
        for candidate in candidates:
            own = figures[kind, candidate.name]
            ratios = [one / other for one, other in zip(own, figures[kind, first], strict=True)]
            low, median, high = ((ratio - 1) * 100 for ratio in statistics.quantiles(ratios, n=4))
            # Others on the machine only ever add.
            best, best_of_first = (statistics.quantiles(each, n=10)[0] for each in (own, figures[kind, first]))
            print(
                f"{kind:<5}{candidate.name:<34}{statistics.median(own):>8.1f} µs"
                f"{median:>+8.2f} %  ({low:+.2f} to {high:+.2f} %)"
                f"   best tenth {best:>8.1f} µs{(best / best_of_first - 1) * 100:>+8.2f} %"
            )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--off-only", action="store_true")
    options = parser.parse_args()
    torchserve = FakeTorchServe()
    torchserve.timing = {"Server-Timing": "decode;dur=1.234, inference;dur=2.345, worker;dur=3.999"}
    torchserve.worker_us = 4000
    await torchserve.start()
    urls = {"MARSERVE_INFERENCE_URL": torchserve.url, "MARSERVE_MANAGEMENT_URL": torchserve.url}
    with ExitStack() as stack, otlp_collector() as collector:
        on = {**urls, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        some = {**on, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
        candidates = [Candidate("before", options.before, urls)] if options.before else []
        candidates += [Candidate("off", REPOSITORY, urls)]
        if not options.off_only:
            candidates += [
                Candidate("off, callers send traceparent", REPOSITORY, urls, TRACEPARENT),
                Candidate("on, 1 in 100 sampled", REPOSITORY, some),
                Candidate("on, all sampled", REPOSITORY, on),
            ]
        for candidate in candidates:
            stack.callback(candidate.process.wait)
            stack.callback(candidate.process.terminate)
        await measure(candidates, options.rounds, options.requests)
    await torchserve.stop()


if __name__ == "__main__":
    asyncio.run(main())
