"""What a route asks for: a transaction, and a caller of a role."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.auth import service
from fieldloom_cloud.errors import Forbidden, Unauthorized

bearer = HTTPBearer(auto_error=False)


async def _transaction(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.database.transaction() as session:
        yield session


Transaction = Annotated[AsyncSession, Depends(_transaction, scope="function")]


def _role(role: str) -> Callable[..., Awaitable[service.Caller]]:
    async def required(
        transaction: Transaction, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> service.Caller:
        known = await service.caller(transaction, credentials.credentials) if credentials else None
        if known is None:
            raise Unauthorized("send a token as `Authorization: Bearer TOKEN`")
        if not known.may(role):
            raise Forbidden(f"the role {known.role} may not do that, {role} may")
        return known

    return required


Viewer = Annotated[service.Caller, Depends(_role("viewer"))]
Operator = Annotated[service.Caller, Depends(_role("operator"))]
Admin = Annotated[service.Caller, Depends(_role("admin"))]
