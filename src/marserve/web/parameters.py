"""Query parameters that several endpoints share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

#: The largest ``top_k`` that the handler takes.
MAX_TOP_K = 1000

TopK = Annotated[int, Query(ge=1, le=MAX_TOP_K, description="How many classes, the most probable first.")]
ModelName = Annotated[
    str | None,
    Query(max_length=200, description="A name from /models; not given: the default model.", examples=["resnet18"]),
]
