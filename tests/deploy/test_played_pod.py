"""The chart's pod without a cluster: ``podman kube play``, on one machine."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import yaml

from tests.deploy.charts import resources
from tests.deploy.containers import Containers, Pod
from tests.e2e.serving import quiet_ports
from tests.support import CAT

pytestmark = [
    pytest.mark.needs("buildah", "podman", "runc", "catatonit", "mmdebstrap"),
    pytest.mark.timeout(900),  # the first one waits for the images
]
#: podman knows no native sidecars: it waits until they end. Elsewhere it would look for images in registries.
VALUES: dict[str, Any] = {
    "image": {"registry": "localhost", "pullPolicy": "Never"},
    "replicas": 1,
    "torchserve": {"nativeSidecar": "false", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
}
NAME = "played"
#: What is there, as podman lists it.
LISTS = (("ps", "--all"), ("pod", "ls"), ("volume", "ls"))


def pod_of_the_chart(port: int) -> dict[str, Any]:
    """Without its probes, which podman runs with a shell and curl, of which the images have neither: their own health
    checks ask the same. And ``port`` of this machine leads to it, since there is no Service.
    """
    (deployment,) = copy.deepcopy(resources(VALUES, "Deployment"))
    template: dict[str, Any] = deployment["spec"]["template"]
    for container in template["spec"]["containers"]:
        for probe in [key for key in container if key.endswith("Probe")]:
            del container[probe]
        for published in container.get("ports", ()):
            published |= {"hostIP": "127.0.0.1", "hostPort": port}
    return template | {"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"] | {"name": NAME}}


def left(containers: Containers) -> list[str]:
    return [line for what in LISTS for line in containers.podman(*what, "--quiet").splitlines()]


@pytest.fixture(scope="module")
def played(containers: Containers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    before = left(containers)
    (port,) = quiet_ports(1)
    file = tmp_path_factory.mktemp("played") / "pod.yaml"
    file.write_text(yaml.safe_dump(pod_of_the_chart(port)), encoding="utf-8")
    played = Pod(containers, NAME, port)
    try:
        containers.podman("kube", "play", file)
        played.wait_until_ready()
        yield played
    finally:
        containers.podman("kube", "down", file, check=False)
    assert sorted(left(containers)) == sorted(before)


def test_a_picture_is_classified(played: Pod) -> None:
    answer = requests.post(f"{played.url}/classify", data=CAT.read_bytes(), timeout=30)
    assert len(answer.json()["predictions"]) == 5


@pytest.mark.parametrize("role", ["torchserve", "web"])
def test_it_may_no_more_than_in_a_cluster(played: Pod, role: str) -> None:
    played.check_power(role)
    said = played.exec(role, "python3", "-c", "open('/opt/marserve/x', 'w')", check=False)
    assert "Read-only file system" in said
