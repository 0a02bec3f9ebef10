"""Optional packages: presence and version without importing them, and the extra that installs them."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from ..kernels.versions import installed_version

_DISTRIBUTIONS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")}
"""Distributions that provide the same package."""


def installed(package: str) -> bool:
    """True if the package can be imported; it is not imported."""
    return importlib.util.find_spec(package) is not None


def version(package: str) -> str:
    """Version of an installed package; `unknown` if its distribution has another name."""
    return next(filter(None, map(installed_version, _DISTRIBUTIONS.get(package, (package,)))), "unknown")


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Context manager for imports that need an extra.

    Raises:
        ValueError: a package is not installed; the message names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'tessella[{extra}]'") from error
