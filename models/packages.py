"""Optional packages: whether they are installed and in which version, without importing them; which extra has them."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from ..kernels.versions import installed_version

_BUILDS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")}
"""Distributions that bring the same package."""


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def version(package: str) -> str:
    """Of an installed package; `unknown` where its distribution is called otherwise."""
    return next(filter(None, map(installed_version, _BUILDS.get(package, (package,)))), "unknown")


@contextmanager
def require_extra(extra: str) -> Iterator[None]:
    """Around imports that only this extra makes possible.

    Raises:
        ValueError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'tessella[{extra}]'") from error
