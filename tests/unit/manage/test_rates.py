"""What two looks at the metrics say."""

from __future__ import annotations

from marserve.manage.metrics import Look, Rates, Samples, parse_samples, rates, web_rates


def torchserve(requests: float, waited_us: float, version: str = "1.0", *, refused: float = 0) -> Samples:
    """What TorchServe's metrics page shows, in its own form."""
    labels = f'model_name="resnet18",model_version="{version}",hostname="h",'
    page = f"""# TYPE ts_inference_requests_total counter
ts_inference_requests_total{{{labels}}} {requests + refused}
# TYPE ts_queue_latency_microseconds counter
ts_queue_latency_microseconds{{{labels}}} {waited_us}
# TYPE handler_requests_total counter
handler_requests_total{{ModelName="resnet18",Level="Model",Hostname="h",}} {requests}
"""
    return parse_samples(page.encode())


def test_refused_requests_do_not_shorten_the_wait() -> None:
    before, after = Look(0.0, torchserve(0, 0)), Look(1.0, torchserve(10, 20_000, refused=90))
    assert rates(before, after, "resnet18", "1.0", is_default=True) == Rates(100.0, 2.0)


def test_rates_are_increases_over_time() -> None:
    before, after = Look(0.0, torchserve(10, 0)), Look(2.0, torchserve(30, 40_000))
    assert rates(before, after, "resnet18", "1.0", is_default=True) == Rates(10.0, 2.0)


def test_a_restarted_server_counts_from_zero() -> None:
    before, after = Look(0.0, torchserve(1000, 9000)), Look(1.0, torchserve(5, 5000))
    assert rates(before, after, "resnet18", "1.0", is_default=True) == Rates(5.0, 1.0)


def test_requests_without_a_version_are_the_defaults() -> None:
    before, after = Look(0.0, torchserve(0, 0, "default")), Look(1.0, torchserve(3, 3000, "default"))
    assert rates(before, after, "resnet18", "1.0", is_default=True) == Rates(3.0, 1.0)
    assert rates(before, after, "resnet18", "2.0", is_default=False) == Rates(None, None)


def test_without_requests_there_is_no_waiting_time() -> None:
    look = torchserve(10, 0)
    assert rates(Look(0.0, look), Look(1.0, look), "resnet18", "1.0", is_default=True) == Rates(0.0, None)


def test_answers_of_the_web_service_are_grouped_by_status() -> None:
    def requests(method: str, status: str) -> tuple[str, frozenset[tuple[str, str]]]:
        labels = {"method": method, "route": "/predict", "status": status}
        return "web_requests_total", frozenset(labels.items())

    after = {requests("POST", "200"): 20.0, requests("POST", "503"): 2.0, requests("GET", "200"): 99.0}
    found = web_rates(Look(0.0, web={requests("POST", "200"): 10.0}), Look(2.0, web=after))
    assert found == {"2xx": 5.0, "5xx": 1.0}
