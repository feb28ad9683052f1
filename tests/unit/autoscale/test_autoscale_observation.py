"""From both servers' counters to what happened between two samples."""

from __future__ import annotations

from marserve.autoscale.autoscaler import ModelSample, WatchedModel
from marserve.autoscale.observation import WebCounters, traffic, web_counters, web_waiting
from marserve.autoscale.policy import Observation, Traffic
from marserve.autoscale.rules import Rules
from marserve.torchserve.metrics import Counters, model_counters, read_samples

#: As TorchServe 0.12 writes them.
METRICS = """\
# HELP ts_inference_requests_total Torchserve prometheus counter metric with unit: Count
# TYPE ts_inference_requests_total counter
ts_inference_requests_total{model_name="resnet18",model_version="1.0",hostname="vm",} 45.0
ts_inference_requests_total{model_name="resnet18",model_version="default",hostname="vm",} 4708.0
ts_inference_requests_total{model_name="other",model_version="default",hostname="vm",} 7.0
# HELP ts_queue_latency_microseconds Torchserve prometheus counter metric with unit: Microseconds
# TYPE ts_queue_latency_microseconds counter
ts_queue_latency_microseconds{model_name="resnet18",model_version="1.0",hostname="vm",} 2.1E7
ts_queue_latency_microseconds{model_name="resnet18",model_version="default",hostname="vm",} 500000.0
# HELP handler_requests_total Torchserve prometheus counter metric with unit: count
# TYPE handler_requests_total counter
handler_requests_total{ModelName="resnet18",Level="Model",Hostname="vm",} 1357.0
# HELP handler_pictures_total Torchserve prometheus counter metric with unit: count
# TYPE handler_pictures_total counter
handler_pictures_total{ModelName="resnet18",Level="Model",Hostname="vm",} 4071.0
# HELP handler_batch_seconds Torchserve prometheus histogram metric with unit: s
# TYPE handler_batch_seconds histogram
handler_batch_seconds_bucket{ModelName="resnet18",Level="Model",Hostname="vm",le="+Inf",} 16.0
handler_batch_seconds_count{ModelName="resnet18",Level="Model",Hostname="vm",} 16.0
handler_batch_seconds_sum{ModelName="resnet18",Level="Model",Hostname="vm",} 0.36
"""


def test_torchserves_metrics_become_the_sums_of_each_model_over_its_versions() -> None:
    samples = read_samples(METRICS)
    assert model_counters(samples, "resnet18") == Counters(4753.0, 1357.0, 21.5, 0.36, 4071.0)
    assert model_counters(samples, "idle") == Counters()


#: As the web service writes them.
WEB_METRICS = """\
# HELP web_queue_seconds From a picture's arrival until it is sent to a worker.
# TYPE web_queue_seconds histogram
web_queue_seconds_bucket{le="+Inf",model="resnet18",version="1.0"} 90.0
web_queue_seconds_count{model="resnet18",version="1.0"} 90.0
web_queue_seconds_sum{model="resnet18",version="1.0"} 9.5
web_queue_seconds_bucket{le="+Inf",model="resnet18",version="2.0"} 10.0
web_queue_seconds_count{model="resnet18",version="2.0"} 10.0
web_queue_seconds_sum{model="resnet18",version="2.0"} 0.5
web_queue_seconds_count{model="other",version="1.0"} 40.0
web_queue_seconds_sum{model="other",version="1.0"} 0.5
# HELP web_queue_pictures Pictures that wait to be sent to a worker.
# TYPE web_queue_pictures gauge
web_queue_pictures{model="resnet18",version="1.0"} 30.0
web_queue_pictures{model="resnet18",version="2.0"} 3.0
# HELP web_unsent_total Pictures that no worker was sent.
# TYPE web_unsent_total counter
web_unsent_total{model="resnet18",version="1.0",reason="deadline"} 15.0
web_unsent_total{model="resnet18",version="1.0",reason="left"} 5.0
# HELP web_rejected_total Requests refused before any work: overload, rate or key.
# TYPE web_rejected_total counter
web_rejected_total{reason="overload"} 80.0
web_rejected_total{reason="key"} 1000.0
"""


def test_the_web_services_metrics_become_the_sums_of_each_model_over_its_versions() -> None:
    samples = read_samples(WEB_METRICS)
    web = web_counters(samples, "resnet18")
    assert web == WebCounters(sent=100, waited_s=10, unsent=20, all_models=160, rejected=80)
    assert web.refused == 20 + 80 * 120 / 160, "its share of those that were refused for any model"
    assert web_waiting(samples, "resnet18") == 33
    assert web_counters(samples, "idle") == WebCounters(all_models=160, rejected=80)
    assert web_waiting(samples, "idle") == 0


def test_pictures_of_groups_wait_at_both_servers() -> None:
    groups = Counters(arrived=11, answered=10, waited_s=0.2, worked_s=1.0, pictures=80)
    web = WebCounters(sent=88, waited_s=40, unsent=12, all_models=100, rejected=20)
    happened = traffic(groups, web, waiting_growth=-8)
    assert happened == Counters(arrived=112, answered=80, waited_s=41.6, worked_s=1.0, pictures=80)


def test_what_came_to_torchserve_itself_counts_as_before() -> None:
    assert traffic(Counters(30, 20, 8.0, 1.0, 20), WebCounters(), 0) == Counters(30, 20, 8.0, 1.0, 20)


def test_an_increase_survives_a_restart_of_the_web_service() -> None:
    before = WebCounters(100, 10.0, 5, 105, 3)
    assert WebCounters(4, 0.1, 0, 4, 0).since(before) == WebCounters(4, 0.1, 0, 4, 0)
    assert WebCounters(110, 12.0, 5, 115, 3).since(before) == WebCounters(10, 2.0, 0, 10, 0)


def test_an_increase_survives_a_restart_of_torchserve() -> None:
    before, after = Counters(100, 90, 5.0, 9.0), Counters(3, 2, 0.5, 0.1)
    assert after.since(before) == after
    assert Counters(110, 95, 6.0, 9.5).since(before) == Counters(10, 5, 1.0, 0.5)


def test_intervals_add_up_to_rates() -> None:
    seen = [
        Observation(1.0, 1.0, Counters(100, 40, 8.0, 1.0), 1, 1, 60),
        Observation(3.0, 2.0, Counters(200, 60, 22.0, 2.0), 1, 1, 80),
    ]
    traffic = Traffic.over(seen)
    assert (traffic.arrived_per_s, traffic.wait_s, traffic.busy, traffic.queue_growth) == (100.0, 0.3, 1.0, 20)
    assert traffic.demand == 3.0, "100 requests/s at 0.03 s each, though one worker answers only a third"
    assert traffic.expected_wait_s(60) == 1.8, "60 requests at 100 in 3 s"


def test_nothing_that_happened_is_no_wait() -> None:
    traffic = Traffic.over([])
    assert (traffic.arrived_per_s, traffic.wait_s, traffic.busy, traffic.demand) == (0, 0, 0, 0)
    assert traffic.expected_wait_s(0) == 0


def test_an_idle_model_claims_no_cores() -> None:
    idle, busy = WatchedModel(Rules(1, 4)), WatchedModel(Rules(1, 4))
    for second in range(5):
        idle.add(ModelSample(float(second), Counters(second, second, 0.0, second * 0.01), 3, 3, 0))
        busy.add(ModelSample(float(second), Counters(second, second, 0.0, second * 0.9), 3, 3, 0))
    assert (idle.claimed, busy.claimed) == (0, 3)
