"""What can go wrong with a request, said once: each kind has a name that clients can rely on. Knows no HTTP."""

from collections.abc import Sequence

from ..models.errors import ImageDecodeError, ImageTooLargeError


class ServiceError(Exception):
    """A request that gets an error instead of an answer. `error_type` is part of the interface."""

    error_type = "service_error"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which the same request is likely to be answered, where that can be told."""


class BadRequest(ServiceError):
    """The request itself is malformed."""

    error_type = "bad_request"


class Forbidden(ServiceError):
    """The request is understood, and its sender may not ask for it."""

    error_type = "forbidden"


class ModelNotFound(ServiceError):
    """No model of that name is served."""

    error_type = "model_not_found"


class LoadFailed(ServiceError):
    """A model could not be loaded; what was served before still is."""

    error_type = "load_failed"


class TaskNotSupported(ServiceError):
    """The model as it is served cannot do what was asked of it."""

    error_type = "not_supported"


class RequestTooLarge(ServiceError):
    """Too many bytes, pixels or images."""

    error_type = "too_large"


class UnsupportedMediaType(ServiceError):
    """The content type is none that `/classify` reads."""

    error_type = "unsupported_media_type"


class Unsupported(ServiceError):
    """A part of a protocol that this service does not have."""

    error_type = "unsupported"


class ImageError(ServiceError):
    """The bytes are not an image that can be decoded."""

    error_type = "invalid_image"


class Overloaded(ServiceError):
    """The queue is full; the request was refused before any work was done for it."""

    error_type = "overloaded"


class NotReady(ServiceError):
    """The model is loading, has failed to load, or the service is shutting down."""

    error_type = "not_ready"


class InferenceFailed(ServiceError):
    """The model call raised; the same request may succeed later."""

    error_type = "inference_failed"


class DeadlineExceeded(ServiceError):
    """The answer was not there when the request's time was over."""

    error_type = "deadline_exceeded"


class BenchmarkNotFound(ServiceError):
    """No benchmark of that id is kept."""

    error_type = "benchmark_not_found"


class BenchmarkRunning(ServiceError):
    """A benchmark was asked for while another one runs."""

    error_type = "benchmark_running"


def image_error(error: ImageDecodeError) -> ServiceError:
    """Service error for an image that could not be decoded."""
    return (RequestTooLarge if isinstance(error, ImageTooLargeError) else ImageError)(str(error))


def raise_first_error(results: Sequence[object]) -> None:
    """Raises the error of the first image that has one, with its place among several."""
    for place, result in enumerate(results):
        if isinstance(result, ServiceError):
            where = f"image {place}: " if len(results) > 1 else ""
            raise type(result)(f"{where}{result}", result.retry_after) from result
