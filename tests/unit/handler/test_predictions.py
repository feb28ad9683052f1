import json
from typing import Any

import numpy as np
import pytest

from marserve.handler.resnet18.answers import AnswerWriter, top_classes
from marserve.handler.resnet18.labels import Label

LABELS = [Label(f"n{index:08}", f"class {index}") for index in range(1000)]
ODD_LABELS = [Label(None, 'a "quoted" name'), Label("n1", "猫\\"), Label(None, "\u2028\x00")]


@pytest.fixture
def probabilities() -> np.ndarray:
    likelihoods: np.ndarray = np.exp(np.random.default_rng(0).normal(size=1000).astype(np.float32))
    likelihoods /= likelihoods.sum()
    return likelihoods


def predictions(probabilities: np.ndarray, top_k: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(AnswerWriter("resnet18", LABELS).write(probabilities, top_k))[
        "predictions"
    ]
    return found


@pytest.mark.parametrize("top_k", [1, 5, 999, 1000])
def test_the_largest_come_first(probabilities: np.ndarray, top_k: int) -> None:
    expected = np.argsort(-probabilities, kind="stable")[:top_k].tolist()
    assert top_classes(probabilities, top_k) == [(index, float(probabilities[index])) for index in expected]


def test_more_than_there_are_gives_all(probabilities: np.ndarray) -> None:
    assert len(predictions(probabilities[:3], 5)) == 3


@pytest.mark.parametrize("top_k", [1, 3, 10])
def test_of_equals_the_lower_class_comes_first(top_k: int) -> None:
    """Also where only some of them have room."""
    assert [index for index, _ in top_classes(np.full(10, 0.1, dtype=np.float32), top_k)] == list(range(top_k))


def test_a_prediction_names_its_class(probabilities: np.ndarray) -> None:
    best = int(probabilities.argmax())
    (prediction,) = predictions(probabilities, 1)
    assert prediction == {
        "class_id": best,
        "wnid": f"n{best:08}",
        "label": f"class {best}",
        "probability": pytest.approx(float(probabilities[best]), abs=1e-8),
    }


def test_all_rounded_probabilities_sum_to_one(probabilities: np.ndarray) -> None:
    assert sum(prediction["probability"] for prediction in predictions(probabilities, 1000)) == pytest.approx(
        1, abs=1e-5
    )


@pytest.mark.parametrize("values", [[0.7, 0.2, 0.1], [1, 0, 0], [0.99999999, 1e-8, 3e-11], [1e-30, 0.5, 0.5]])
@pytest.mark.parametrize("explanation", [None, {"class_id": 1, "map": [[0.25, 1.0]]}])
def test_an_answer_is_written_as_json_writes_it(values: list[float], explanation: dict[str, object] | None) -> None:
    """Whatever is in the labels, and however small the probabilities are."""
    probabilities = np.array(values, dtype=np.float32)
    text = AnswerWriter("a model", ODD_LABELS).write(probabilities, 3, explanation)
    content = json.loads(text)
    assert text == json.dumps(content, separators=(",", ":"))
    assert content["model"] == "a model"
    assert content.get("explanation") == explanation
    for prediction in content["predictions"]:
        label = ODD_LABELS[prediction["class_id"]]
        assert (prediction["wnid"], prediction["label"]) == (label.wnid, label.name)
        assert prediction["probability"] == round(float(probabilities[prediction["class_id"]]), 8)
