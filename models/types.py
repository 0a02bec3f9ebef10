"""Type aliases that several folders share. No torch."""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
"""A JSON object as it was read, before it is checked."""
