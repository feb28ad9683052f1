"""The model that the variable ENGINE names, the recipe's or ours, on the device that DEVICE names."""

from __future__ import annotations

import os
from typing import Protocol


class Model(Protocol):
    """What every peer serves."""

    def predict(self, pictures: list[bytes]) -> list[list[dict[str, object]]]:
        """The five best labels of each encoded picture."""


def load_model(device: str = os.environ.get("DEVICE", "cpu")) -> Model:
    """Load it onto ``device``, as torch spells it; the other one's libraries are not imported."""
    if os.environ.get("ENGINE") == "ours":
        from our_model import OurModel

        return OurModel(device)
    from recipe_model import RecipeModel

    return RecipeModel(device)
