"""The answers as /docs shows them. Endpoints write their JSON themselves; the tests hold it against these."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from marserve.web.models import Weights


class LabelledConfidence(BaseModel):
    """One class of /predict."""

    label: str = Field(examples=["tabby"])
    confidence: float = Field(ge=0, le=100, description="Percent, two decimals.", examples=[83.12])


class Prediction(BaseModel):
    """One class of /classify."""

    class_id: int = Field(examples=[281])
    wnid: str | None = Field(description="WordNet id, for ImageNet's classes.", examples=["n02123045"])
    label: str = Field(examples=["tabby"])
    probability: float = Field(examples=[0.8312])


class Classification(BaseModel):
    """The answer of /classify."""

    model: str = Field(examples=["resnet18"])
    version: str = Field(examples=["1.0"])
    weights: Weights
    predictions: list[Prediction]
    cache: Literal["hit", "miss"]
    time_ms: float = Field(description="From the request's headers to this answer.", examples=[12.3])


class Crop(BaseModel):
    """The part of the upright picture that the network saw, in fractions of its width and height."""

    left: float
    top: float
    right: float
    bottom: float


class Explanation(BaseModel):
    """Where in the picture the network saw the class."""

    class_id: int
    map: list[list[float]] = Field(description="Rows from top to bottom, 0 to 1, over the crop.")
    crop: Crop


class ExplainedClassification(Classification):
    """The answer of /explain."""

    explanation: Explanation


class Model(BaseModel):
    """One model of /models, in its default version."""

    name: str
    version: str
    versions: list[str]
    architecture: str | None
    class_count: int | None
    weights: Weights
    precision: str | None
    ready: bool


class Limits(BaseModel):
    """What a client can check before it sends anything."""

    max_image_bytes: int


class Models(BaseModel):
    """The answer of /models."""

    default: str | None
    models: list[Model]
    limits: Limits


class Health(BaseModel):
    """The answer of /healthz and /readyz."""

    status: Literal["ok", "unavailable"]
    reasons: list[str] = []


class Error(BaseModel):
    """Every failure."""

    code: int = Field(examples=[503])
    type: str = Field(examples=["Overloaded"])
    message: str = Field(description="What to do.")
