"""What all of the gateway's own HTTP interface shares: who is let in, and how a refusal is told.

It listens on loopback alone, and to whom can read the token in the gateway's data folder.
"""

import secrets
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from fieldloom_runtime import files

TOKEN_FILE = "local.token"  # noqa: S105 - its name
STOP_GRACE_S = 2
"""So long requests may go on when the gateway is to stop."""


class Refused(Exception):  # noqa: N818 - it reads as what happened
    """A request that is not done."""

    def __init__(self, status: int, title: str, detail: str, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(detail)
        self.status, self.title, self.errors = status, title, errors


def token_of(data: Path) -> str:
    """Return the token of a data folder, made at the first start, for the folder's owner alone."""
    path = data / TOKEN_FILE
    if not path.exists():
        files.write(path, secrets.token_urlsafe(32) + "\n")
    return path.read_text().strip()


def guard(app: FastAPI) -> None:
    """Let no name but loopback's lead to an interface, and answer Refused by problem details (RFC 9457)."""
    # A page of the web may have its own name mean 127.0.0.1, and would then be let in by a browser on this machine.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])

    @app.exception_handler(Refused)
    async def _problem(_: Request, error: Refused) -> JSONResponse:
        return told(error)

    @app.exception_handler(RequestValidationError)
    async def _unusable(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [{"path": str(one["loc"][-1]), "reason": one["msg"]} for one in error.errors()]
        return told(Refused(422, "Bad content", "the request can't be used", faults))


def told(error: Refused) -> JSONResponse:
    """Return a refusal as problem details."""
    body = {"type": "about:blank", "title": error.title, "status": error.status, "detail": str(error)}
    if error.errors is not None:
        body["errors"] = error.errors
    return JSONResponse(body, error.status, media_type="application/problem+json")


def admit(authorization: str, token: str) -> None:
    """Let a request with the token pass. Raises Refused."""
    if not secrets.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
        detail = f"send `Authorization: Bearer TOKEN`: the token is in {TOKEN_FILE} in the gateway's data folder"
        raise Refused(401, "Unauthorized", detail)
