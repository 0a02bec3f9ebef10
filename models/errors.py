"""What can be wrong with a model that somebody names."""


class ModelNotFoundError(LookupError):
    """Nothing lies under the name, path or hub id; the message says where was looked and what would be found."""


class CheckpointError(ValueError):
    """What lies there is not a checkpoint that this version can serve; the message says what was found and expected."""


class OperatorError(CheckpointError):
    """The runtime has no implementation of an operator in the file, or not in its dtype; another one may have."""
