"""The web page."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from app.access.scopes import GuardedRoute

FOLDER = Path(__file__).parent.parent / "page"

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)


@router.get("/")
async def page() -> FileResponse:
    """Browsers ask again each time, so that a new version is seen at once."""
    return FileResponse(FOLDER / "index.html", headers={"Cache-Control": "no-cache"})
