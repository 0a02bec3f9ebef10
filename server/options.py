"""The settings as command-line options: declared once, in Settings."""

import inspect
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from .settings import Settings


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a typer command one option for each setting; what the user gave arrives as keywords, the rest as None.

    A setting that is a table, such as `models`, is for the file and the environment only.
    """
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(name))
        for name, field in Settings.model_fields.items()
        if get_origin(field.annotation) is not dict
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _option(name: str) -> Any:
    field = Settings.model_fields[name]
    default = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
    if isinstance(default, float):
        default = f"{default:g}"
    shown = "" if default in (None, "", False) else f" (default: {default})"
    flags = ("--model", "-m") if name == "model" else ()
    return Annotated[_plain(field.annotation) | None, typer.Option(*flags, help=f"{field.description}{shown}")]


def _plain(annotation: Any) -> Any:
    """The type that typer reads: lists for tuples, the choices' own type, no None."""
    if get_origin(annotation) is tuple:
        return list[str]
    if get_origin(annotation) is Literal:
        return str
    if isinstance(annotation, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    return annotation
