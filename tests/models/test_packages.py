"""Optional packages: presence and version by import name, and errors that name the extra."""

import importlib
import importlib.metadata

import pytest

from tessella.models import packages


def test_installed_or_not() -> None:
    assert packages.installed("numpy")
    assert not packages.installed("no_such_package")
    assert packages.version("numpy") == importlib.metadata.version("numpy")
    assert packages.version("no_such_package") == "unknown"


def test_another_build_of_onnxruntime_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(distribution: str) -> str:
        if distribution != "onnxruntime-gpu":
            raise importlib.metadata.PackageNotFoundError(distribution)
        return "9.9"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert packages.version("onnxruntime") == "9.9"


def test_a_missing_package_is_an_error_that_names_its_extra() -> None:
    message = r"no_such_package is not installed: pip install 'tessella\[bench\]'"
    with pytest.raises(ValueError, match=message), packages.require_extra("bench"):
        importlib.import_module("no_such_package")
