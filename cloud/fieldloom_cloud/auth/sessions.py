"""Logging in and out over HTTP: a link that is good once becomes a cookie."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from fieldloom_cloud.auth import service
from fieldloom_cloud.auth.dependencies import COOKIE, Admin, Transaction, Viewer
from fieldloom_cloud.database import iso
from fieldloom_cloud.errors import described
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1", tags=["sessions"], route_class=StrictRoute)

LOGIN_PAGE = "/login"


class LoginLinkIn(BaseModel, extra="forbid"):
    role: Literal["viewer", "operator", "admin"] = "viewer"


class LoginLinkOut(BaseModel):
    link: str = Field(description="Opens the console, once.")
    role: str
    expires: str


class LogIn(BaseModel, extra="forbid"):
    secret: str = Field(min_length=1, max_length=200, description="What follows the # of the link.")


class SessionOut(BaseModel):
    role: Literal["viewer", "operator", "admin"]
    expires: str | None = Field(description="When the session ends; null for a token.")


def link(address: str, secret: str) -> str:
    """Return the link to a console: no server, log, Referer or prefetcher gets to see a URL's fragment."""
    return f"{address.rstrip('/')}{LOGIN_PAGE}#{secret}"


@router.post("/login-links", status_code=201)
async def add_login_link(body: LoginLinkIn, request: Request, transaction: Transaction, _: Admin) -> LoginLinkOut:
    secret, expires = await service.add_login_link(transaction, body.role)
    return LoginLinkOut(link=link(str(request.base_url), secret), role=body.role, expires=iso(expires))


@router.post("/session", status_code=201, responses={401: described(401)})
async def log_in(body: LogIn, request: Request, response: Response, transaction: Transaction) -> SessionOut:
    """Exchange the secret of a link for a session, whose cookie no script can read."""
    secret, known = await service.log_in(transaction, body.secret)
    response.set_cookie(
        COOKIE,
        secret,
        max_age=round(service.SESSION_LIFE.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return SessionOut.model_validate(known, from_attributes=True)


@router.get("/session")
async def show_session(known: Viewer) -> SessionOut:
    """Tell who the caller is."""
    return SessionOut.model_validate(known, from_attributes=True)


@router.delete("/session", status_code=204)
async def log_out(response: Response, transaction: Transaction, known: Viewer) -> None:
    """End the caller's session; its live streams end within seconds. A token stays what it is."""
    await service.log_out(transaction, known.id)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
