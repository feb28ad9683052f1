"""TorchServe's configuration as one stack gets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.paths import CONFIG
from marserve.stack.configuration import read_configuration
from marserve.stack.options import Concurrency, Options
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.torchserve import TorchServe
from marserve.torchserve import properties
from marserve.web.settings import WebSettings


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        ("plain", "name=plain\n"),
        (8, "name=8\n"),
        ("a=b", "name=a=b\n"),
        (r"\d", "name=\\\\d\n"),
        ("/home/zoë", "name=/home/zo\\u00eb\n"),
        ("/home/模型", "name=/home/\\u6a21\\u578b\n"),
        ("😀", "name=\\ud83d\\ude00\n"),
    ],
)
def test_values_are_written_as_java_reads_them(value: str | int, rendered: str) -> None:
    assert properties.render({"name": value}) == rendered


def test_comments_and_blank_lines_are_no_settings() -> None:
    assert properties.parse("# a=b\n\n  # c=d\nname = value=1\nnothing\n") == {"name": "value=1"}


def test_a_stack_gets_its_own_ports_and_places_and_the_rest_of_the_file(tmp_path: Path) -> None:
    kept = read_configuration(WebSettings(), memory_bytes=4 * 10**9)
    directory = RunDirectory(5001, tmp_path)
    ports = Ports(inference_port=18080)
    chosen = TorchServe(Path("java"), ports, directory, tmp_path, Options(), Concurrency(2, 1), kept).settings
    assert chosen["inference_address"] == "http://127.0.0.1:18080"
    assert chosen["model_store"] == str(directory.model_store)
    assert chosen["default_workers_per_model"] == 2
    assert {name: chosen[name] for name in ("enable_model_api", "allowed_urls", "max_request_size")} == {
        name: kept[name] for name in ("enable_model_api", "allowed_urls", "max_request_size")
    }


@pytest.mark.parametrize("visible", ["GPU-1b2c", "0, 1", "0,MIG-77"])
def test_gpus_that_torchserve_cannot_read_stop_the_start(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(MarserveError, match="TorchServe reads numbers alone"):
        read_configuration(WebSettings(), memory_bytes=4 * 10**9)


@pytest.mark.parametrize("visible", ["", "0", "2,3", "-1"])
def test_gpus_are_chosen_by_number(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert read_configuration(WebSettings(), memory_bytes=4 * 10**9)


def test_pictures_of_the_default_size_need_what_the_file_has() -> None:
    kept = properties.parse((CONFIG / "config.properties").read_text())
    limits = read_configuration(WebSettings(), memory_bytes=8 * 10**9)
    assert limits["max_request_size"] == int(kept["max_request_size"])
    assert str(limits["vmargs"]).replace("-Xmx3072m", "-Xmx3g") == kept["vmargs"]
    assert limits["job_queue_size"] == int(kept["job_queue_size"])


@pytest.mark.parametrize(("gibibytes", "heap", "queue"), [(4, 2048, 256), (1, 512, 64), (0.25, 256, 32)])
def test_a_small_container_gets_a_small_heap_and_a_queue_that_fits_into_it(
    gibibytes: float, heap: int, queue: int
) -> None:
    """Else the kernel would end it, and not the collector make room."""
    limits = read_configuration(WebSettings(), memory_bytes=int(gibibytes * 2**30))
    assert f"-Xmx{heap}m" in str(limits["vmargs"]).split()
    assert limits["job_queue_size"] == queue


def test_larger_pictures_fit_into_torchserves_requests_and_heap() -> None:
    web = WebSettings(max_image_bytes=30_000_000, max_in_flight=100)
    limits = read_configuration(web, memory_bytes=16 * 10**9)
    assert limits["max_request_size"] == 45_500_000
    assert "-Xmx4000m" in str(limits["vmargs"]).split()


def test_larger_pictures_than_the_memory_suffices_for_stop_the_start() -> None:
    web = WebSettings(max_image_bytes=100_000_000)
    with pytest.raises(MarserveError, match=r"MAX_IMAGE_BYTES = 100000000 with .*MAX_IN_FLIGHT = 512 needs 13\.8 GB"):
        read_configuration(web, memory_bytes=16 * 10**9)
