"""The RayJob before KubeRay's own definition, and whether its hosts have room for what it starts."""

from __future__ import annotations

import copy
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from marserve import __version__
from marserve.bulk.fit import Host, Share, actors_that_fit
from marserve.cli.main import read
from tests.deploy.custom_resources import check
from tests.support import REPOSITORY

RAY = REPOSITORY / "deploy" / "ray"


@pytest.fixture
def job() -> Any:
    return yaml.safe_load((RAY / "rayjob.yaml").read_text(encoding="utf-8"))


@pytest.mark.needs("custom-resource-definitions")
def test_kuberay_knows_every_field(job: Any) -> None:
    check(job)


@pytest.mark.needs("custom-resource-definitions")
def test_a_misspelt_key_is_found(job: Any) -> None:
    misspelt = copy.deepcopy(job)
    misspelt["spec"]["rayClusterSpec"]["authOption"] = misspelt["spec"]["rayClusterSpec"].pop("authOptions")
    with pytest.raises(jsonschema.ValidationError, match="authOption"):
        check(misspelt)


def test_its_command_is_one_of_ours(job: Any, tmp_path: Path) -> None:
    program, command, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (program, command) == ("marserve", "bulk")
    archive = Path(arguments[arguments.index("--archive") + 1])
    pod = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    assert archive.parent == Path(mount["mountPath"], "models"), "where an image of archives has them"
    (there := tmp_path / archive.name).touch()
    options = read(command, [word if word != str(archive) else str(there) for word in arguments])
    assert options.address == "auto"


def test_its_workers_have_room_for_actors_when_one_is_lost(job: Any) -> None:
    head, (workers,) = job["spec"]["rayClusterSpec"]["headGroupSpec"], job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["minReplicas"] == workers["replicas"] == workers["maxReplicas"]
    cpus = float(workers["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    hosts = [Host(f"worker-{number}", Share(cpus)) for number in range(workers["replicas"])]
    hosts.append(Host("head", Share(float(head["rayStartParams"]["num-cpus"])), can_be_lost=False))
    assert actors_that_fit(hosts, Share(1)) == cpus * (workers["replicas"] - 1)


def test_nobody_joins_without_the_token(job: Any) -> None:
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_all_of_it_has_the_ray_that_marserve_wants(job: Any) -> None:
    (wanted,) = re.findall(r'"ray\[data\]==([\d.]+)"', (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == wanted
    assert f"rayproject/ray:{wanted}-" in (RAY / "Containerfile").read_text(encoding="utf-8")
    cluster = job["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    assert {pod["containers"][0]["image"] for pod in pods} == {f"marserve-ray:{__version__}"}
