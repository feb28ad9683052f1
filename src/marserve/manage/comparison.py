"""Two versions on the same pictures: whether the new one answers as the old one does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from marserve.client.errors import ClientError
from marserve.client.inference import Classification, InferenceClient
from marserve.errors import MarserveError

#: The most classes that an answer has.
TOP_K = 1000
#: Pictures at once, so that a model under load is not pushed aside.
PARALLEL = 2
#: Pictures that make a worker fast: it allocates what it needs at its first ones.
WARM_UP_REQUESTS = 4


@dataclass(frozen=True)
class Comparison:
    """How the answers of two versions differ."""

    pictures: int
    #: Share of the pictures with the same most probable class.
    agreement: float
    #: Mean over all classes and pictures of the difference between the probabilities, 0 to 1.
    mean_difference: float
    #: The first class whose label differs: ``class 3 is "cat", was "dog"``; None where all are equal.
    label_change: str | None

    def __str__(self) -> str:
        labels = "labels equal" if self.label_change is None else f"labels differ: {self.label_change}"
        return (
            f"{self.pictures} picture{'' if self.pictures == 1 else 's'}: top class equal in {self.agreement:.1%}, "
            f"mean difference of the probabilities {self.mean_difference:.2g}, {labels}"
        )

    def objection(self, min_agreement: float) -> str | None:
        """Why the new version should not become the default; None where it may."""
        if self.label_change is not None:
            return f"its labels differ: {self.label_change}"
        if self.agreement < min_agreement:
            return f"it agrees on {self.agreement:.1%} of the pictures, less than {min_agreement:.1%}"
        return None


def answers(
    client: InferenceClient, pictures: Sequence[Path], *, top_k: int = TOP_K, parallel: int = PARALLEL
) -> list[Classification]:
    """``top_k`` classes of each picture. Raises MarserveError for the first picture that is not answered."""
    results = client.classify_many(pictures, top_k=top_k, parallel=parallel)
    found = []
    for picture, (_, answer) in zip(pictures, results, strict=True):
        if isinstance(answer, ClientError):
            raise MarserveError(f"{picture} was not answered: {answer}") from answer
        found.append(answer)
    return found


def warm_up(client: InferenceClient, pictures: Sequence[Path], workers: int) -> None:
    """Send each worker a few pictures, so that no caller waits for its first ones."""
    repeated = [pictures[i % len(pictures)] for i in range(WARM_UP_REQUESTS * workers)]
    answers(client, repeated, top_k=1, parallel=max(1, workers))


def compare(old: Sequence[Classification], new: Sequence[Classification]) -> Comparison:
    """``old`` and ``new`` are the answers to the same pictures, in the same order."""
    pairs = list(zip(old, new, strict=True))
    agreeing = sum(a.predictions[0].class_id == b.predictions[0].class_id for a, b in pairs)
    differences = [difference for a, b in pairs for difference in _differences(a, b)]
    return Comparison(
        pictures=len(pairs),
        agreement=agreeing / len(pairs),
        mean_difference=sum(differences) / len(differences),
        label_change=next((change for a, b in pairs if (change := _label_change(a, b)) is not None), None),
    )


def _differences(old: Classification, new: Classification) -> list[float]:
    before = {prediction.class_id: prediction.probability for prediction in old.predictions}
    after = {prediction.class_id: prediction.probability for prediction in new.predictions}
    return [abs(before.get(class_id, 0.0) - after.get(class_id, 0.0)) for class_id in before.keys() | after.keys()]


def _label_change(old: Classification, new: Classification) -> str | None:
    before = {prediction.class_id: (prediction.wnid, prediction.label) for prediction in old.predictions}
    after = {prediction.class_id: (prediction.wnid, prediction.label) for prediction in new.predictions}
    if len(before) != len(after):
        return f"{len(after)} classes instead of {len(before)}"
    # Of networks with more classes than an answer has, only those in both can be compared.
    for class_id in sorted(before.keys() & after.keys()):
        if before[class_id] != after[class_id]:
            return f'class {class_id} is "{after[class_id][1]}", was "{before[class_id][1]}"'
    return None
