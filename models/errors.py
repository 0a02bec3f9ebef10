"""Errors of models and images: raised here, mapped to responses by the service."""


class ModelNotFoundError(LookupError):
    """Nothing lies under the name, path or hub id; the message says where was looked and what would be found."""


class CheckpointError(ValueError):
    """What lies there is not a checkpoint that this version can serve; the message says what was found and expected."""


class OperatorError(CheckpointError):
    """The runtime has no implementation of an operator in the file, or not in its dtype; another one may have."""


class ImageDecodeError(ValueError):
    """The bytes are not an image that can be decoded; the message says what is wrong with them."""


class ImageTooLargeError(ImageDecodeError):
    """The image has more pixels than the caller accepts; nothing was decoded."""
