"""Every setting, as the README lists them. `make readme` writes it between the README's markers."""

from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from ..models.documents import write_part
from .settings import PREFIX, Settings

PART = "settings"


def render() -> str:
    """The table in Markdown: a row for each field, in the order of the class."""
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `{PREFIX}{name.upper()}` | {_default(field)} | {_meaning(field)} |")
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, float):
        value = f"{value:g}"
    return f"`{value}`" if value not in (None, "", {}) else ""


def _meaning(field: FieldInfo) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    if get_origin(field.annotation) is dict:
        return f"{field.description}; in JSON, or as a table of the file"
    listed = f" ({', '.join(choices)})" if choices else ""
    return f"{field.description}{listed}".replace("|", "\\|")


if __name__ == "__main__":
    write_part(PART, render())
