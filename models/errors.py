"""Error classes of models and images, which the server maps to responses. No torch."""


class ModelNotFoundError(LookupError):
    """Unknown model name, path or hub id; the message says where it was looked for and what is valid."""


class CheckpointError(ValueError):
    """Unsupported or damaged checkpoint; the message says what it contains and what was expected."""


class OperatorError(CheckpointError):
    """Operator that the runtime does not implement, or not in this dtype; another runtime may."""


class ImageDecodeError(ValueError):
    """Undecodable image bytes; the message says what is wrong with them."""


class ImageTooLargeError(ImageDecodeError):
    """Image with more pixels than the caller accepts; it was not decoded."""
