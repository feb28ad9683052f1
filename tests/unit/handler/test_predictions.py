import numpy as np
import pytest

from marserve.handler.resnet18.answers import describe_predictions, top_classes
from marserve.handler.resnet18.labels import Label

LABELS = [Label(f"n{index:08}", f"class {index}") for index in range(1000)]


@pytest.fixture
def probabilities() -> np.ndarray:
    likelihoods: np.ndarray = np.exp(np.random.default_rng(0).normal(size=1000).astype(np.float32))
    likelihoods /= likelihoods.sum()
    return likelihoods


@pytest.mark.parametrize("top_k", [1, 5, 999, 1000])
def test_the_largest_come_first(probabilities: np.ndarray, top_k: int) -> None:
    assert top_classes(probabilities, top_k).tolist() == np.argsort(-probabilities, kind="stable")[:top_k].tolist()


def test_more_than_there_are_gives_all(probabilities: np.ndarray) -> None:
    assert len(describe_predictions(probabilities[:3], 5, LABELS)) == 3


def test_of_equals_the_lower_class_comes_first() -> None:
    assert top_classes(np.full(10, 0.1, dtype=np.float32), 10).tolist() == list(range(10))


def test_a_prediction_names_its_class(probabilities: np.ndarray) -> None:
    best = int(probabilities.argmax())
    (prediction,) = describe_predictions(probabilities, 1, LABELS)
    assert prediction == {
        "class_id": best,
        "wnid": f"n{best:08}",
        "label": f"class {best}",
        "probability": pytest.approx(float(probabilities[best]), abs=1e-8),
    }


def test_all_rounded_probabilities_sum_to_one(probabilities: np.ndarray) -> None:
    predictions = describe_predictions(probabilities, 1000, LABELS)
    assert sum(float(str(prediction["probability"])) for prediction in predictions) == pytest.approx(1, abs=1e-5)
