"""The model that the variable ENGINE names: the recipe's, or ours."""

from __future__ import annotations

import os
from typing import Protocol


class Model(Protocol):
    """What every peer serves."""

    def predict(self, pictures: list[bytes]) -> list[list[dict[str, object]]]:
        """The five best labels of each encoded picture."""


def load_model() -> Model:
    """Load it; the other one's libraries are not imported."""
    if os.environ.get("ENGINE") == "ours":
        from our_model import OurModel

        return OurModel()
    from recipe_model import RecipeModel

    return RecipeModel()
