"""What a route asks for: a transaction, and a caller of a role, who comes with a token or with a session's cookie."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.auth import service
from fieldloom_cloud.errors import Forbidden, Unauthorized
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.origin import SESSION, TOKEN, Origin, of_request
from fieldloom_cloud.trail.refusals import Refusals

COOKIE = "fieldloom_session"
READS = ("GET", "HEAD", "OPTIONS")

bearer = HTTPBearer(auto_error=False)
cookie = APIKeyCookie(name=COOKIE, auto_error=False)


async def _transaction(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.database.transaction() as session:
        trail.begin(session, origin(request))
        yield session


Transaction = Annotated[AsyncSession, Depends(_transaction, scope="function")]


async def _caller(
    request: Request,
    transaction: Transaction,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    session: Annotated[str | None, Depends(cookie)],
) -> service.Caller:
    known = None
    if credentials is not None:
        known = await service.caller(transaction, credentials.credentials)
    elif session is not None:
        if request.method not in READS:
            refuse_other_sites(request)
        known = await service.person(transaction, session)
    if known is None:
        raise Unauthorized("send a token as `Authorization: Bearer TOKEN`, or log in by a link")
    kind = TOKEN if known.expires is None else SESSION
    request.state.origin = trail.identify(transaction, kind, known.id, known.name)
    return known


def origin(request: Request) -> Origin:
    """Return where a request comes from, its caller included as soon as he is known."""
    known: Origin | None = getattr(request.state, "origin", None)
    return known or of_request(request)


def count_refusal(refusals: Refusals, request: Request, status: int, reason: str) -> None:
    """Count a request that was refused: every one for want of a right, and of the others those that would change."""
    is_ours = isinstance(request.scope.get("route"), APIRoute)
    if is_ours and (status in (401, 403) or request.method not in READS):
        refusals.add(origin(request), "/".join(request.path_params.values()), status, reason)


def refuse_other_sites(request: Request) -> None:
    """Take a browser's write only from a page of this very address. Raises Forbidden.

    SameSite=Strict does not tell ports apart: a page of another server on this machine would pass it. Every browser
    of today says where a write comes from (W3C Fetch Metadata); an older one at least says its origin.
    """
    told = request.headers.get("sec-fetch-site")
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if told != "same-origin" if told is not None else request.headers.get("origin") != own:
        raise Forbidden("a write with a session's cookie has to come from the console itself")


def _role(role: str) -> Callable[..., Awaitable[service.Caller]]:
    async def required(known: Annotated[service.Caller, Depends(_caller)]) -> service.Caller:
        if not known.may(role):
            raise Forbidden(f"the role {known.role} may not do that, {role} may")
        return known

    return required


Viewer = Annotated[service.Caller, Depends(_role("viewer"))]
Operator = Annotated[service.Caller, Depends(_role("operator"))]
Admin = Annotated[service.Caller, Depends(_role("admin"))]
