"""Optional packages are asked for by the name they are imported under."""

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
