"""Shared type aliases: every folder imports them, so they import no module of the package."""

import ast
import inspect

from tessella.models import types


def test_aliases_import_no_module_of_the_package() -> None:
    nodes = list(ast.walk(ast.parse(inspect.getsource(types))))
    relative = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    imported = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert not relative
    assert imported == ["collections.abc", "typing"]
