"""What the suite for a throw-away cluster decides by itself; the cluster is tests/deploy/cluster's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from marserve.system.waiting import wait_until
from tests.deploy.cluster import throwaway
from tests.deploy.cluster.callers import Called, summed_up
from tests.deploy.cluster.prometheus import configuration, write_targets
from tests.deploy.cluster.release import IMAGES
from tests.deploy.cluster.rows import PAGE, ROWS
from tests.deploy.cluster.scaling import flaps
from tests.deploy.cluster.throwaway import Access, Cluster, NotThrowawayError, Watch, is_throwaway, refuse_others
from tests.reliability.table import written


@pytest.mark.parametrize("context", ["kind-marserve", "k3d-try", "minikube", "throwaway", "my-throw-away-cluster"])
def test_clusters_for_trying_are_told_by_their_context(context: str) -> None:
    assert is_throwaway(context, {})


@pytest.mark.parametrize(
    "context", ["production", "gke_shop_europe-west1_main", "kindness", "not-k3d-", "admin@minikube-prod"]
)
def test_another_cluster_is_tried_only_if_its_user_says_so(context: str) -> None:
    assert not is_throwaway(context, {})
    assert not is_throwaway(context, {throwaway.IS_THROWAWAY: "yes"})
    assert is_throwaway(context, {throwaway.IS_THROWAWAY: "1"})


def test_another_cluster_is_refused_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(throwaway.IS_THROWAWAY, raising=False)
    asked: list[tuple[str, ...]] = []

    def kubectl(*arguments: str, **_: Any) -> str:
        asked.append(arguments)
        return "production\n"

    monkeypatch.setattr(throwaway, "kubectl", kubectl)
    with pytest.raises(NotThrowawayError, match="production"), throwaway.own_namespace("mine"):
        pytest.fail("it was let in")
    assert asked == [("config", "current-context")]
    with pytest.raises(NotThrowawayError, match=throwaway.IS_THROWAWAY):
        refuse_others()


def test_the_namespace_is_deleted_even_where_its_pods_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, ...]] = []

    def kubectl(*arguments: str, **_: Any) -> str:
        done.append(arguments)
        if "pods" in arguments:
            raise subprocess.TimeoutExpired("kubectl", 60)
        return "kind-marserve\n"

    monkeypatch.setattr(throwaway, "kubectl", kubectl)
    with throwaway.own_namespace("mine"):
        pass
    assert done[-1][:3] == ("delete", "namespace", "mine")


def test_the_page_has_each_row_measured_or_not() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert written(page, "cluster", {}, list(ROWS)) == page


def test_the_page_has_every_variable_of_the_suite() -> None:
    page = PAGE.read_text(encoding="utf-8")
    images = {variable for variable, _ in IMAGES.values()}
    named = {throwaway.IS_THROWAWAY, throwaway.NODE_PROGRAM, throwaway.METRIC_PROGRAM, *images}
    assert {variable for variable in named if f"`{variable}" not in page} == set()


@pytest.mark.parametrize(
    ("path", "is_flapping"),
    [([1, 2, 4, 3, 1], False), ([1, 4, 1], False), ([1], False), ([1, 4, 3, 4, 1], True), ([4, 1, 2, 1], True)],
)
def test_up_and_down_once_is_no_flapping(path: list[int], is_flapping: bool) -> None:
    assert flaps(path) == is_flapping


def test_what_callers_saw_is_counted() -> None:
    right = Called("right", 0.0, 0.5, "200", version="1.0")
    answers = [
        right,
        right,
        Called("right", 0, 2, "200", version="2.0", redirected=3),
        Called("gone", 1, 1, "reset (X)"),
    ]
    assert summed_up(answers) == (
        "3 of 4 × 200, right, 1 × reset (X), 3 connections not accepted and tried by the other node, "
        "2 by version 1.0 and 1 by version 2.0; longest 2.0 s"
    )


def pod(name: str, *, ready: bool, **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, **metadata},
        "spec": {"nodeName": "node1"},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}], "containerStatuses": [{"restartCount": 2}]},
    }


def test_a_watch_knows_who_is_ready_and_who_is_ending(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    events = [
        ("ADDED", pod("a", ready=True)),
        ("ADDED", pod("b", ready=True)),
        ("ADDED", pod("c", ready=False)),
        ("MODIFIED", pod("b", ready=True, deletionTimestamp="now")),
        ("DELETED", pod("c", ready=False)),
    ]
    lines = "\n".join(json.dumps({"type": kind, "object": thing}) for kind, thing in events)
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!/bin/sh\ncat <<'EVENTS'\n{lines}\nEVENTS\nexec sleep 60\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    watch = Watch(Cluster("mine"), "app=a")
    with watch.running():
        assert wait_until(lambda: len(watch.history) >= len(events), 30)
        assert [seen.name for seen in watch.ready] == ["a"]
        assert [seen.name for seen in watch.pods] == ["a", "b"]
        assert {seen.restarts for seen in watch.history} == {2}


def test_a_watch_that_the_api_server_ends_is_begun_again_until_it_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kubectl = tmp_path / "kubectl"
    line = json.dumps({"type": "ADDED", "object": pod("a", ready=True)})
    kubectl.write_text(f"#!/bin/sh\necho '{line}'\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with Watch(Cluster("mine"), "app=a").running():
        pass  # left before anything is there to be ended
    watch = Watch(Cluster("mine"), "app=a")
    with watch.running():
        assert wait_until(lambda: len(watch.history) > 2, 30)


def test_prometheus_scrapes_ready_pods_through_the_api_server(tmp_path: Path) -> None:
    access = Access("https://10.0.0.1:6443", tmp_path, frozenset({"token"}))
    config: Any = configuration(access)
    (job,) = config["scrape_configs"]
    assert job["authorization"] == {"credentials_file": str(tmp_path / "token")}
    (files,) = job["file_sd_configs"]
    watch = Watch(Cluster("mine"), "app=a")
    for name, ready in (("a", True), ("b", False)):
        watch._note("ADDED", pod(name, ready=ready))
    write_targets(tmp_path, access, watch)
    (target,) = json.loads((tmp_path / files["files"][0]).read_text())
    assert target["targets"] == ["10.0.0.1:6443"]
    assert target["labels"]["__metrics_path__"] == "/api/v1/namespaces/mine/pods/a:5000/proxy/metrics"


def test_a_command_that_fails_says_what_it_complained_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "break"
    program.write_text('#!/bin/sh\necho "no node $2" >&2\nexit 3\n')
    program.chmod(0o755)
    monkeypatch.setenv(throwaway.NODE_PROGRAM, str(program))
    with pytest.raises(subprocess.CalledProcessError) as failed:
        throwaway.told_by(throwaway.NODE_PROGRAM, "cut", "node9")
    assert failed.value.stderr == "no node node9\n"
