from pathlib import Path
from typing import Any

import pytest
import yaml

from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.settings import HandlerSettings, ModelConfig, parse_model_config

CONFIG = Path(__file__).parents[3] / "config" / "model-config.yaml"


def test_the_shipped_file_is_valid_and_names_every_handler_setting() -> None:
    content = yaml.safe_load(CONFIG.read_text())
    parse_model_config(content)
    assert content["handler"].keys() == HandlerSettings.model_fields.keys()


def test_the_shipped_handler_settings_are_the_defaults() -> None:
    assert parse_model_config(yaml.safe_load(CONFIG.read_text())).handler == HandlerSettings()


@pytest.mark.parametrize("content", [None, {}])
def test_without_a_file_the_defaults_hold(content: dict[str, Any] | None) -> None:
    assert parse_model_config(content) == ModelConfig()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"bacthSize": 8}, ["bacthSize is no setting", "batchSize"]),
        ({"batchSize": "8"}, ["batchSize = '8'", "a valid value is 1"]),
        ({"batchSize": 0}, ["batchSize = 0", "greater than or equal to 1"]),
        ({"maxBatchDelay": 0}, ["maxBatchDelay = 0"]),
        ({"useJobTicket": True}, ["useJobTicket is no setting"]),
        ({"handler": 7}, ["handler = 7", "{}"]),
        ({"handler": {"topk": 3}}, ["handler.topk is no setting", "default_top_k"]),
        ({"handler": {"engine": "onnx"}}, ["handler.engine = 'onnx'", "'openvino'", "a valid value is 'auto'"]),
        ({"handler": {"threads": "two"}}, ["handler.threads = 'two'", "'auto'", " or "]),
        ({"handler": {"max_image_bytes": True}}, ["handler.max_image_bytes = True", "16000000"]),
        ({"handler": {"default_top_k": 1001}}, ["handler.default_top_k = 1001", "less than or equal to 1000"]),
        ({"minWorkers": 2}, ["maxWorkers = None", "set maxWorkers to 2 or more"]),
        ({"minWorkers": 2, "maxWorkers": 1}, ["maxWorkers = 1"]),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_a_valid_one(content: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(ConfigurationError) as failure:
        parse_model_config(content)
    for part in expected:
        assert part in str(failure.value)


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"batchSize = 0.*handler\.x is no setting"):
        parse_model_config({"batchSize": 0, "handler": {"x": 1}})
