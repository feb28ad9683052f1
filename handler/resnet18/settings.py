"""model-config.yaml as typed settings: an unknown key, a wrong type or an impossible value stops start-up.

TorchServe itself only warns about a wrong type and ignores an unknown key, so its own keys are checked here as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ConfigurationError

Engine = Literal["auto", "openvino", "torch"]
Precision = Literal["auto", "f32", "bf16", "int8"]
Positive = Annotated[int, Field(ge=1)]

#: Environment variables that come before the archive's own limits.
LIMIT_VARIABLES = {"max_image_bytes": "MARSERVE_MAX_IMAGE_BYTES", "max_image_pixels": "MARSERVE_MAX_IMAGE_PIXELS"}


class HandlerSettings(BaseModel):
    """The ``handler:`` section: what this project's handler does."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    #: ``auto``: torch on the GPU that TorchServe assigned to the worker, else OpenVINO.
    engine: Engine = "auto"
    #: ``auto``: bf16 where the processor computes it natively (half precision on a GPU), else f32; of an archive built
    #: as int8 that. ``int8`` needs such an archive.
    precision: Precision = "auto"
    #: ``exact`` is torchvision's documented transform to the bit; ``fast`` decodes JPEGs at a fitting scale.
    preprocessing: Literal["fast", "exact"] = "fast"
    #: Inference threads of one worker; ``auto`` shares the cores between the workers.
    threads: Literal["auto"] | Positive = "auto"
    #: A picture of more bytes is refused; keep below ``max_request_size`` in config.properties. Where the server has a
    #: limit of its own, that comes first; see ``with_server_limits``.
    max_image_bytes: Positive = 16_000_000
    #: A picture of more pixels is refused before it is decoded: 50 million decode to 150 MB. As above.
    max_image_pixels: Positive = 50_000_000
    #: Pictures in one JSON request (``instances``): one request must not hold up its batch for long.
    max_images_per_request: Positive = 32
    #: Predictions in an answer when the caller names no number.
    default_top_k: Annotated[int, Field(ge=1, le=1000)] = 5


class ModelConfig(BaseModel):
    """The whole model-config.yaml: TorchServe's keys that make sense here, and the ``handler:`` section."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    batchSize: Positive = 1  # noqa: N815 - TorchServe's names
    #: Milliseconds; TorchServe takes 0 as "not set" and waits 100.
    maxBatchDelay: Positive = 1  # noqa: N815
    minWorkers: Positive | None = None  # noqa: N815
    maxWorkers: Positive | None = None  # noqa: N815
    #: Seconds.
    responseTimeout: Positive = 30  # noqa: N815
    startupTimeout: Positive = 120  # noqa: N815
    maxRetryTimeoutInSec: Positive = 300  # noqa: N815
    #: Requests that may wait for a worker; beyond it the answer is 503 at once.
    jobQueueSize: Positive = 100  # noqa: N815
    deviceType: Literal["cpu", "gpu"] | None = None  # noqa: N815
    deviceIds: list[Annotated[int, Field(ge=0)]] | None = None  # noqa: N815
    handler: HandlerSettings = HandlerSettings()


def parse_model_config(content: Mapping[str, Any] | None) -> ModelConfig:
    """Check the content of a model-config.yaml.

    Raises ConfigurationError with the setting's name, the value found and what would be valid.
    """
    try:
        config = ModelConfig.model_validate(dict(content or {}))
    except ValidationError as exc:
        raise ConfigurationError(_explain(exc)) from exc
    if config.minWorkers and (config.maxWorkers or 0) < config.minWorkers:
        raise ConfigurationError(
            f"model-config.yaml: maxWorkers = {config.maxWorkers} but minWorkers = {config.minWorkers}, and TorchServe "
            f"would ignore both: set maxWorkers to {config.minWorkers} or more."
        )
    return config


def with_server_limits(settings: HandlerSettings, environ: Mapping[str, str]) -> HandlerSettings:
    """``settings`` with the limits that whoever started TorchServe has set, so that one number holds everywhere.

    Raises ConfigurationError.
    """
    limits = {}
    for name, variable in LIMIT_VARIABLES.items():
        value = environ.get(variable, "")
        if value and not (value.isdecimal() and int(value)):
            raise ConfigurationError(
                f"{variable} = {value!r} must be a whole number, such as {HandlerSettings.model_fields[name].default}."
            )
        if value:
            limits[name] = int(value)
    return settings.model_copy(update=limits)


def _explain(failure: ValidationError) -> str:
    """One sentence a setting: pydantic reports a choice between types, such as ``threads``, once for each type."""
    problems: dict[str, str] = {}
    for error in failure.errors():
        in_handler = error["loc"][0] == "handler" and len(error["loc"]) > 1
        section = HandlerSettings if in_handler else ModelConfig
        key = str(error["loc"][1 if in_handler else 0])
        name = f"handler.{key}" if in_handler else key
        if error["type"] == "extra_forbidden":
            problems[name] = f"{name} is no setting; valid names: {', '.join(sorted(section.model_fields))}"
        elif name in problems:
            problems[name] += f" or {error['msg'].lower()}"
        else:
            valid = {} if name == "handler" else section.model_fields[key].default
            problems[name] = f"{name} = {error['input']!r} (a valid value is {valid!r}): {error['msg'].lower()}"
    return "model-config.yaml: " + "; ".join(problems.values())
