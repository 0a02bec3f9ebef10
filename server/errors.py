"""Error classes of requests; clients rely on the name of each class's `error_type`. No HTTP."""

from collections.abc import Sequence

from ..models.errors import ImageDecodeError, ImageTooLargeError


class ServiceError(Exception):
    """Base class of errors sent to clients. `error_type` is part of the interface."""

    error_type = "service_error"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Estimated seconds after which a retry is likely to succeed; None if unknown."""


class BadRequest(ServiceError):
    """Malformed request."""

    error_type = "bad_request"


class Forbidden(ServiceError):
    """Request that its sender is not permitted to make."""

    error_type = "forbidden"


class ModelNotFound(ServiceError):
    """Model that is not served under the requested name."""

    error_type = "model_not_found"


class LoadFailed(ServiceError):
    """Failed load of a model; models served before are still served."""

    error_type = "load_failed"


class TaskNotSupported(ServiceError):
    """Task that the model, or the backend that runs it, does not support."""

    error_type = "not_supported"


class RequestTooLarge(ServiceError):
    """Request with too many bytes, pixels or images."""

    error_type = "too_large"


class UnsupportedMediaType(ServiceError):
    """Content type that the route does not accept."""

    error_type = "unsupported_media_type"


class Unsupported(ServiceError):
    """Protocol feature that this service does not implement."""

    error_type = "unsupported"


class ImageError(ServiceError):
    """Image bytes that cannot be decoded."""

    error_type = "invalid_image"


class Overloaded(ServiceError):
    """Full queue: the request is rejected before any work is done for it."""

    error_type = "overloaded"


class NotReady(ServiceError):
    """Model that is loading or has failed to load, or service that is shutting down."""

    error_type = "not_ready"


class InferenceFailed(ServiceError):
    """Failed model call; the same request may succeed later."""

    error_type = "inference_failed"


class DeadlineExceeded(ServiceError):
    """Request whose deadline passed before its response was ready."""

    error_type = "deadline_exceeded"


class BenchmarkNotFound(ServiceError):
    """Benchmark id that is unknown, or no longer kept."""

    error_type = "benchmark_not_found"


class BenchmarkRunning(ServiceError):
    """Benchmark request while another benchmark runs."""

    error_type = "benchmark_running"


def image_error(error: ImageDecodeError) -> ServiceError:
    """Service error of an image that could not be decoded."""
    return (RequestTooLarge if isinstance(error, ImageTooLargeError) else ImageError)(str(error))


def raise_first_error(results: Sequence[object]) -> None:
    """Raise the first error among the results; with several images, its message begins with the image's index."""
    for index, result in enumerate(results):
        if isinstance(result, ServiceError):
            prefix = f"image {index}: " if len(results) > 1 else ""
            raise type(result)(f"{prefix}{result}", result.retry_after) from result
