"""The web pages as files: `/ui/models` is models.html. Browsers keep what they have, and ask whether it has changed."""

import os
from pathlib import Path

from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope

PAGES = Path(__file__).parent / "pages"


class Pages(StaticFiles):
    """Serves the folder `pages`."""

    def __init__(self) -> None:
        super().__init__(directory=PAGES)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        found = super().lookup_path(path)
        return found if found[1] or "." in path else super().lookup_path(f"{path}.html")

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response
