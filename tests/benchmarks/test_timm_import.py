"""Import of torchvision: missing operators are declared, any other error is raised."""

import importlib
from typing import Any

import pytest

from tessella.benchmarks import timm_import


class Library:
    def __init__(self) -> None:
        self.defined: list[str] = []

    def define(self, schema: str) -> None:
        self.defined.append(schema.partition("(")[0])


def fail(message: str) -> Any:
    def import_module(name: str) -> None:
        raise RuntimeError(message)

    return import_module


def test_missing_operators_are_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_import, "_library", library := Library())
    monkeypatch.setattr(importlib, "import_module", fail("operator torchvision::nms does not exist"))
    timm_import.make_torchvision_importable()
    assert library.defined == ["nms", "qnms"]


def test_another_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_import, "_library", library := Library())
    monkeypatch.setattr(importlib, "import_module", fail("out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        timm_import.make_torchvision_importable()
    assert library.defined == []
