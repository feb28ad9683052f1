"""TorchServe's configuration as one stack gets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from marserve.paths import CONFIG
from marserve.stack.cores import Concurrency
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.torchserve import settings
from marserve.torchserve import properties


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
    text = (CONFIG / "config.properties").read_text(encoding="utf-8")
    directory = RunDirectory(5001, tmp_path)
    chosen = settings(text, Ports(inference_port=18080), directory, ["one", "two"], Concurrency(2, 1))
    assert chosen["inference_address"] == "http://127.0.0.1:18080"
    assert chosen["model_store"] == str(directory.model_store)
    assert chosen["load_models"] == "one=one.mar,two=two.mar"
    assert chosen["default_workers_per_model"] == 2
    kept = properties.parse(text)
    assert {name: chosen[name] for name in ("enable_model_api", "allowed_urls", "max_request_size")} == {
        name: kept[name] for name in ("enable_model_api", "allowed_urls", "max_request_size")
    }
