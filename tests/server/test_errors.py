"""Service errors: unique types, image errors, and the first error of several images."""

import pytest

from tessella.models.errors import ImageDecodeError, ImageTooLargeError
from tessella.server.errors import ImageError, Overloaded, RequestTooLarge, ServiceError, image_error, raise_first_error


def test_error_types_are_unique() -> None:
    kinds: list[type[ServiceError]] = [ServiceError, *ServiceError.__subclasses__()]
    types = [kind.error_type for kind in kinds]
    assert len(set(types)) == len(types)
    assert all(name.isidentifier() and name.islower() for name in types)


def test_decoding_errors_become_service_errors() -> None:
    assert type(image_error(ImageDecodeError("no image"))) is ImageError
    assert type(image_error(ImageTooLargeError("too many pixels"))) is RequestTooLarge
    assert str(image_error(ImageTooLargeError("too many pixels"))) == "too many pixels"


def test_first_error_is_raised_with_the_index_of_its_image() -> None:
    first = Overloaded("full", 7.0)
    with pytest.raises(Overloaded, match=r"^image 1: full$") as caught:
        raise_first_error(["result", first])
    assert caught.value.retry_after == 7.0
    assert caught.value.__cause__ is first
    with pytest.raises(Overloaded, match=r"^image 0: full$"):
        raise_first_error([first, ImageError("no image")])
    with pytest.raises(Overloaded, match=r"^full$"):
        raise_first_error([first])
    raise_first_error(["result", "result"])
