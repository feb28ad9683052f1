"""The record of what is deployed, and what a start makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from marserve.autoscale.rules import Rules
from marserve.stack.deployments import (
    DeployedModel,
    DeployedVersion,
    Deployments,
    PendingChange,
    describe,
    plan_start,
    replaced_by,
    switched,
)
from marserve.stack.options import Options

FIRST = DeployedVersion("1.0", "resnet18-1.0-a.mar", "a" * 64, "/store/resnet18.mar")
SECOND = DeployedVersion("2.0", "resnet18-2.0-b.mar", "b" * 64, "/new/resnet18.mar", by_deploy=True)
GIVEN = Options(weights=Path("/w.pth"), labels=Path("/labels.txt"), workers=2)
BEGUN = Deployments(GIVEN.base(), {"resnet18": DeployedModel(FIRST)})
DEPLOYED = BEGUN.with_model("resnet18", switched(SECOND, FIRST, 2))
PENDING = PendingChange("deployment", "resnet18", "2.0", workers=0)


def test_a_record_is_read_as_it_was_written() -> None:
    record = replace(DEPLOYED, pending=replace(PENDING, removes=("0.9",)))
    assert Deployments.parse(json.loads(record.as_json())) == record


@pytest.mark.parametrize(
    "options",
    [
        Options(
            weights=Path("/w.pth"), labels=Path("/labels.txt"), calibration=Path("/p"), precision="int8", workers=3
        ),
        Options(weights="untrained", weights_key="ema"),
        Options(archives=(Path("/a.mar"), Path("/b.mar"))),
        Options(),
    ],
)
def test_the_options_that_it_began_with_come_back(options: Options) -> None:
    base = json.loads(json.dumps(options.base()))
    assert Options().on(base) == options
    assert options.on(base) == options


def test_an_autoscaler_takes_no_number_of_workers_from_the_base() -> None:
    assert Options(autoscale=Rules(1, 4)).on({"workers": 3}).workers is None


@pytest.mark.parametrize("options", [Options(), GIVEN, replace(GIVEN, workers=None, host="0.0.0.0", model_api=True)])  # noqa: S104
def test_what_was_deployed_is_served_with_the_same_options_or_none(options: Options) -> None:
    start = plan_start(options, DEPLOYED)
    assert start.deployed == DEPLOYED
    assert (start.options.weights, start.options.labels, start.options.workers) == (GIVEN.weights, GIVEN.labels, 2)
    assert (start.options.host, start.options.model_api) == (options.host, options.model_api)
    (line,) = start.lines
    assert "resnet18 2.0" in line
    assert "rollback brings back 1.0" in line


@pytest.mark.parametrize("options", [Options(), GIVEN, Options(precision="f32")])
def test_where_nothing_was_deployed_the_options_say_what_is_served(options: Options) -> None:
    for record in (None, BEGUN):
        assert plan_start(options, record).deployed is None
        assert plan_start(options, record).options == options
        assert not plan_start(options, record).lines


@pytest.mark.parametrize(
    "options", [replace(GIVEN, labels=None), Options(weights="untrained"), Options(archives=(Path("/a.mar"),))]
)
def test_options_for_other_archives_replace_what_was_deployed_and_say_so(options: Options) -> None:
    start = plan_start(options, DEPLOYED)
    assert (start.deployed, start.options) == (None, options)
    (line,) = start.lines
    assert line == replaced_by(options, DEPLOYED)
    assert line.startswith("Replacing what was deployed, resnet18 2.0")
    assert line.endswith("serve --weights /w.pth --labels /labels.txt.")


def test_what_was_deployed_can_be_forgotten() -> None:
    options = replace(GIVEN, discard_deployed=True)
    start = plan_start(options, DEPLOYED)
    assert (start.deployed, start.options) == (None, options)
    assert "Forgetting what was deployed: resnet18 2.0" in start.lines[0]
    assert plan_start(options, BEGUN).lines == ()
    assert "--discard-deployed" not in options.given()


def test_a_number_of_workers_that_is_given_anew_takes_the_place_of_those_that_were_chosen() -> None:
    scaled = DEPLOYED.with_model("resnet18", replace(DEPLOYED.models["resnet18"], current=replace(SECOND, workers=5)))
    for workers, kept, base in ((2, 5, 2), (None, 5, 2), (3, None, 3)):
        start = plan_start(Options(workers=workers), scaled)
        assert start.deployed is not None
        assert start.deployed.models["resnet18"].current.workers == kept
        assert start.deployed.base["workers"] == start.options.workers == base


def test_scaled_workers_last_as_long_as_the_options_stay_the_same() -> None:
    scaled = BEGUN.with_model("resnet18", DeployedModel(replace(FIRST, workers=5)))
    start = plan_start(GIVEN, scaled)
    assert (start.deployed, start.workers) == (None, {"resnet18": 5})
    assert start.lines == ["resnet18: 5 workers, as scale left it."]
    for other in (Options(), replace(GIVEN, workers=3)):
        assert plan_start(other, scaled).workers == {}


def test_what_became_of_an_interrupted_change_is_told() -> None:
    undone = plan_start(GIVEN, replace(BEGUN, pending=PENDING))
    assert undone.lines[0] == "The deployment of resnet18 2.0 was interrupted, and is undone."
    assert undone.deployed is None
    finished = plan_start(GIVEN, replace(DEPLOYED, pending=replace(PENDING, committed=True)))
    assert finished.lines[0].startswith("The deployment of resnet18 2.0 was interrupted, and was done")
    assert finished.deployed == DEPLOYED


def test_a_rollback_swaps_the_two_and_another_takes_it_back() -> None:
    model = DEPLOYED.models["resnet18"]
    assert model.before is not None
    back = switched(model.before, model.current, 4)
    assert (back.current.version, back.current.had) == ("1.0", None)
    assert back.before is not None
    assert (back.before.version, back.before.had) == ("2.0", 4)
    assert back.was_deployed
    assert "resnet18 1.0" in describe(DEPLOYED.with_model("resnet18", back))
