"""What is raised when weights cannot be had or cannot be used."""

from __future__ import annotations

from pathlib import Path

from marserve.handler.resnet18.errors import ConfigurationError

#: What a weights file must be, unless a message can say something more exact.
EXPECTED_FILE = "a state dict written by torch.save(model.state_dict(), file), or a .safetensors file"


class WeightsError(ConfigurationError):
    """Weights that are refused; says what was found and what was expected."""

    def __init__(self, message: str) -> None:
        # Names and titles come from the file: none of them may steer the terminal that the message is shown on.
        super().__init__("".join(letter if letter.isprintable() else "?" for letter in message))

    @classmethod
    def of_file(cls, path: Path, found: str, expected: str = EXPECTED_FILE) -> WeightsError:
        """The refusal of the file at ``path``; ``found`` continues the sentence that its name begins."""
        return cls(f"The weights file {path} {found}. Expected: {expected}.")


class DownloadFailed(WeightsError):  # noqa: N818 - read as a sentence where it is caught
    """A published file that did not arrive whole; the next source is tried."""
