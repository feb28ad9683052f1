import pytest

from marserve.handler.resnet18 import errors

RAISED = [
    error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.RequestError)
]


@pytest.mark.parametrize("kind", RAISED)
def test_every_request_error_has_the_one_json_shape(kind: type[errors.RequestError]) -> None:
    assert kind("Send a picture.").as_json() == {
        "code": kind.status,
        "type": kind.__name__,
        "message": "Send a picture.",
    }


@pytest.mark.parametrize("kind", RAISED)
def test_every_phrase_is_safe_in_a_status_line(kind: type[errors.RequestError]) -> None:
    assert kind.phrase.isascii()
    assert kind.phrase.isprintable()
    assert 400 <= kind.status < 600
