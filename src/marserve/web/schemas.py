"""What is answered: these models read the handler's answers, write this service's, and describe them in /docs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema

from marserve.handler.resnet18.description import Preprocessing
from marserve.web.fetching import MAX_ADDRESS_LENGTH
from marserve.web.models import Weights


class _Strict(BaseModel):
    """From the handler, or from Redis: a field of another type is an error and not converted."""

    model_config = ConfigDict(strict=True)


class PredictedClass(_Strict):
    """One class of /classify."""

    class_id: int = Field(examples=[281])
    wnid: str | None = Field(description="WordNet id, for ImageNet's classes.", examples=["n02123045"])
    label: str = Field(examples=["tabby"])
    probability: float = Field(examples=[0.8312])


class CropShares(_Strict):
    """The part of the upright picture that the network saw, in fractions of its width and height."""

    left: float
    top: float
    right: float
    bottom: float


class ActivationMap(_Strict):
    """Where in the picture the network saw the class."""

    class_id: int
    map: list[list[float]] = Field(description="Rows from top to bottom, 0 to 1, over the crop.", min_length=1)
    crop: CropShares

    @model_validator(mode="after")
    def _is_rectangle(self) -> ActivationMap:
        if len({len(row) for row in self.map}) != 1:
            raise ValueError("the map is no rectangle")
        return self


class HandlerAnswer(_Strict):
    """What the handler says of one picture: classes, highest first, and an explanation where one was requested."""

    predictions: list[PredictedClass]
    explanation: ActivationMap | None = None

    @classmethod
    def read(cls, body: bytes, *, explain: bool) -> HandlerAnswer | None:
        """What ``body`` says; None for anything else, and where it lacks what ``explain`` asks for."""
        try:
            answer = cls.model_validate_json(body)
        except ValidationError:
            return None
        return None if explain and answer.explanation is None else answer


class LabelledConfidence(BaseModel):
    """One class of /predict."""

    label: str = Field(examples=["tabby"])
    confidence: float = Field(ge=0, le=100, description="Percent, two decimals.", examples=[83.12])
    weights: Literal["untrained"] | SkipJsonSchema[None] = Field(
        None, description="Only where the weights are random, so that the label means nothing."
    )


class ClassifiedPicture(BaseModel):
    """The answer of /classify."""

    model: str = Field(examples=["resnet18"])
    version: str = Field(examples=["1.0"])
    weights: Weights
    predictions: list[PredictedClass]
    cache: Literal["hit", "miss"]
    time_ms: float = Field(description="From the request's headers to this answer.", examples=[12.3])


class ExplainedPicture(ClassifiedPicture):
    """The answer of /explain."""

    explanation: ActivationMap


class ListedModel(BaseModel):
    """One model of /models, in its default version."""

    name: str
    version: str
    versions: list[str]
    architecture: str | None
    class_count: int | None
    weights: Weights
    precision: str | None = Field(description="What its workers compute in.", examples=["bf16"])
    picture_formats: list[str] = Field(
        description="What it reads; HEIC where its decoder is installed. Empty: it does not say.",
        examples=[["JPEG", "PNG"]],
    )
    preprocessing: Preprocessing | None = Field(description="What it sees of a picture. null: it does not say.")
    ready: bool


class NamedClass(BaseModel):
    """One class of a model."""

    class_id: int = Field(examples=[281])
    wnid: str | None = Field(description="WordNet id, for ImageNet's classes.", examples=["n02123045"])
    label: str = Field(examples=["tabby"])


class ClassList(BaseModel):
    """The answer of /models/{model}/classes."""

    model: str
    version: str
    classes: list[NamedClass]


class FeedbackFields(BaseModel):
    """What is said of a wrong answer: of ``class_id``, ``label`` and ``other`` exactly one."""

    class_id: int | None = Field(None, ge=0, description="The right class, by its number.", examples=[281])
    label: str | None = Field(
        None, max_length=1000, description="The right class, by its label or WordNet id.", examples=["tabby"]
    )
    other: str | None = Field(
        None, max_length=200, description="What it is, where it is none of the model's classes.", examples=["a fox"]
    )
    model: str | None = Field(
        None,
        max_length=200,
        description="The model that answered; not given: the default model.",
        examples=["resnet18"],
    )
    predicted_class_id: int | None = Field(
        None, ge=0, description="The class that was answered; not given: what the model answers now.", examples=[282]
    )
    note: str | None = Field(None, max_length=1000, description="Anything else that the operator should know.")
    url: str | None = Field(
        None,
        max_length=MAX_ADDRESS_LENGTH,
        description="The picture's address, as for /predict, instead of the picture.",
    )


class KeptReport(BaseModel):
    """The answer of /feedback."""

    id: str = Field(description="By which the operator finds and deletes the report.")
    model: str
    version: str
    predicted: NamedClass
    right: NamedClass | None


class ListedLimits(BaseModel):
    """What a client can check before it sends anything."""

    max_image_bytes: int
    max_image_pixels: int


class ModelList(BaseModel):
    """The answer of /models."""

    name: str = Field(description="What the service is called.", examples=["Marserve"])
    default: str | None
    models: list[ListedModel]
    limits: ListedLimits
    feedback: bool = Field(description="Whether /feedback takes reports of wrong answers.")
    fetches_urls: bool = Field(description="Whether a picture may be named by its address, as url.")


class HealthReport(BaseModel):
    """The answer of /healthz and /readyz."""

    status: Literal["ok", "unavailable"]
    reasons: list[str] = []


class ErrorAnswer(BaseModel):
    """Every failure."""

    code: int = Field(description="The HTTP status.")
    type: str = Field(description="The kind of error, for programs.")
    message: str = Field(description="What to do.")
    error: str = Field(description="The message again, under the Open Inference Protocol's name for it.")
