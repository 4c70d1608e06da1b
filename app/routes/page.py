"""The web page."""

import os
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.access.scopes import GuardedRoute

FOLDER = Path(__file__).parent.parent / "page"

_HEADERS = {"Cache-Control": "no-cache"}
"""Browsers ask again each time, so that a new version is seen at once and modules of two versions never meet."""

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)


@router.get("/")
async def page() -> FileResponse:
    return FileResponse(FOLDER / "index.html", headers=_HEADERS)


class PageFiles(StaticFiles):
    """The page's modules and styles."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """As `StaticFiles` does, 304 included."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_HEADERS)
        return response
