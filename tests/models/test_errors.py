"""Error classes: their bases decide how callers without knowledge of them treat them."""

import pytest

from tessella.models import errors


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (errors.ModelNotFoundError, LookupError),
        (errors.CheckpointError, ValueError),
        (errors.OperatorError, errors.CheckpointError),
        (errors.ImageDecodeError, ValueError),
        (errors.ImageTooLargeError, errors.ImageDecodeError),
    ],
)
def test_errors_are_also_builtin_ones(error: type[Exception], base: type[Exception]) -> None:
    assert issubclass(error, base)


def test_a_missing_model_is_no_invalid_checkpoint() -> None:
    assert not issubclass(errors.ModelNotFoundError, ValueError)
    assert not issubclass(errors.ImageDecodeError, errors.CheckpointError)
