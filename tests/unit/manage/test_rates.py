"""What two looks at the metrics say."""

from __future__ import annotations

from prometheus_client.samples import Sample

from marserve.manage.reading import StackMetrics, version_rates, web_rates
from marserve.torchserve.metrics import Rates, rates, read_samples


def torchserve(requests: float, waited_us: float, version: str = "1.0", *, refused: float = 0) -> list[Sample]:
    """What TorchServe's metrics page shows, in its own form."""
    labels = f'model_name="resnet18",model_version="{version}",hostname="h",'
    page = f"""# TYPE ts_inference_requests_total counter
ts_inference_requests_total{{{labels}}} {requests + refused}
# TYPE ts_queue_latency_microseconds counter
ts_queue_latency_microseconds{{{labels}}} {waited_us}
# TYPE handler_requests_total counter
handler_requests_total{{ModelName="resnet18",Level="Model",Hostname="h",}} {requests}
"""
    return read_samples(page)


def test_refused_requests_do_not_shorten_the_wait() -> None:
    before, after = torchserve(0, 0), torchserve(10, 20_000, refused=90)
    assert rates(before, after, 1.0, "resnet18", "1.0", is_default=True) == Rates(100.0, 2.0)


def test_rates_are_increases_over_time() -> None:
    before, after = torchserve(10, 0), torchserve(30, 40_000)
    assert rates(before, after, 2.0, "resnet18", "1.0", is_default=True) == Rates(10.0, 2.0)


def test_a_restarted_server_counts_from_zero() -> None:
    before, after = torchserve(1000, 9000), torchserve(5, 5000)
    assert rates(before, after, 1.0, "resnet18", "1.0", is_default=True) == Rates(5.0, 1.0)


def test_requests_without_a_version_are_the_defaults() -> None:
    before, after = torchserve(0, 0, "default"), torchserve(3, 3000, "default")
    assert rates(before, after, 1.0, "resnet18", "1.0", is_default=True) == Rates(3.0, 1.0)
    assert rates(before, after, 1.0, "resnet18", "2.0", is_default=False) == Rates(None, None)


def test_without_requests_there_is_no_waiting_time() -> None:
    look = torchserve(10, 0)
    assert rates(look, look, 1.0, "resnet18", "1.0", is_default=True) == Rates(0.0, None)


def test_a_group_counts_as_its_pictures_and_waits_in_both_services() -> None:
    def page(groups: float) -> list[Sample]:
        labels = 'ModelName="resnet18",Level="Model",Hostname="h",'
        counted = f"# TYPE handler_pictures_total counter\nhandler_pictures_total{{{labels}}} {8 * groups}\n"
        return torchserve(groups, groups * 6250) + read_samples(counted)

    def web(sent: float, waited_s: float) -> list[Sample]:
        labels = 'model="resnet18",version="1.0"'
        lines = [
            "# TYPE web_queue_seconds histogram",
            f"web_queue_seconds_count{{{labels}}} {sent}",
            f"web_queue_seconds_sum{{{labels}}} {waited_s}",
        ]
        return read_samples("\n".join(lines) + "\n")

    before, after = StackMetrics(0.0, page(10), web(80, 4)), StackMetrics(2.0, page(30), web(240, 20))
    assert version_rates(before, after, "resnet18", "1.0", is_default=True) == Rates(80.0, 106.25)
    without_keys = StackMetrics(0.0, page(10)), StackMetrics(2.0, page(30))
    assert version_rates(*without_keys, "resnet18", "1.0", is_default=True) == Rates(80.0, 6.25)


def test_answers_of_the_web_service_are_grouped_by_status() -> None:
    def page(**counts: float) -> list[Sample]:
        lines = [
            f'web_requests_total{{method="{method}",route="/predict",status="{status}"}} {count}'
            for name, count in counts.items()
            for method, status in [name.split("_")]
        ]
        return read_samples("\n".join(["# TYPE web_requests counter", *lines]) + "\n")

    before = StackMetrics(0.0, web=page(POST_200=10))
    after = StackMetrics(2.0, web=page(POST_200=20, POST_503=2, GET_200=99))
    assert web_rates(before, after) == {"2xx": 5.0, "5xx": 1.0}
