"""Serves the built console, and the headers that keep a browser safe on every answer. (A5)"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER = Path(__file__).parent / "console_dist"
PAGES = (
    "/login",
    "/dead-letters",
    "/devices/{device}",
    "/groups",
    "/groups/{group}",
    "/types",
    "/types/{type}",
    "/alarms",
    "/discoveries",
    "/gateways",
    "/rules",
    "/rules/{rule}",
    "/workflows",
    "/workflows/{workflow}",
    "/instances",
    "/instances/{instance}",
)
"""The console's own addresses besides `/`: all of them are its one document."""

NOT_BUILT = """The console of this cloud was not built. In a clone of Fieldloom run

    scripts/console

(`make setup` does it too) and start the cloud again. The API is there: /api/v1, described by /openapi.json.
"""
HEADERS = {
    # Scripts and styles come from our own files alone: nothing inline, nothing from elsewhere.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def add_console(app: FastAPI, folder: Path = FOLDER) -> None:
    """Serve a built console at the root of an application, behind all of its routes."""
    app.add_middleware(SafeHeaders)
    document = folder / "index.html"
    if not document.exists():

        @app.get("/", include_in_schema=False)
        async def not_built() -> PlainTextResponse:
            return PlainTextResponse(NOT_BUILT, 503)

        return

    async def page() -> Response:
        return FileResponse(document)

    for path in PAGES:
        app.add_api_route(path, page, methods=["GET"], include_in_schema=False)
    app.frontend("/", directory=folder, fallback=None)


class SafeHeaders:
    """Adds the headers to each answer; the hashed names of built files may be kept by the browser, nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        keep = "public, max-age=31536000, immutable" if scope["path"].startswith("/assets/") else "no-store"

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Cache-Control"] = keep if message["status"] < 400 else "no-store"
            await send(message)

        await self._app(scope, receive, sending)
