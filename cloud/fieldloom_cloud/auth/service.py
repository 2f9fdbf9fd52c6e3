"""API tokens: random, opaque, kept as SHA-256, revoked at once. (A2)"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.auth.models import Token
from fieldloom_cloud.database import iso, now
from fieldloom_cloud.errors import NotFound

ROLES = ("viewer", "operator", "admin")
PREFIX = "fl_"


@dataclass(frozen=True)
class Caller:
    """Who makes a request."""

    token: str
    role: str

    def may(self, role: str) -> bool:
        """Whether the caller's role includes another."""
        return ROLES.index(self.role) >= ROLES.index(role)


async def add_token(session: AsyncSession, name: str, role: str) -> dict[str, Any]:
    """Make a token and return it with its secret (`token`), which nobody can show again."""
    secret = PREFIX + secrets.token_urlsafe(32)
    row = Token(id=secrets.token_hex(8), name=name, role=role, sha256=_hash(secret))
    session.add(row)
    await session.flush()
    return {**_shown(row), "token": secret}


async def tokens(session: AsyncSession) -> list[dict[str, Any]]:
    """Return all tokens, without their secrets."""
    return [_shown(row) for row in await session.scalars(select(Token).order_by(Token.created))]


async def revoke_token(session: AsyncSession, token_id: str) -> None:
    """Let a token open nothing any more. Raises NotFound."""
    row = await session.get(Token, token_id)
    if row is None:
        raise NotFound(f"there is no token {token_id}")
    row.revoked = row.revoked or now()


async def caller(session: AsyncSession, secret: str) -> Caller | None:
    """Return who holds a secret, None for one that is unknown or revoked."""
    query = select(Token).where(Token.sha256 == _hash(secret), Token.revoked.is_(None))
    token = await session.scalar(query)
    return Caller(token.id, token.role) if token else None


def _shown(row: Token) -> dict[str, Any]:
    revoked = None if row.revoked is None else iso(row.revoked)
    return {"id": row.id, "name": row.name, "role": row.role, "created": iso(row.created), "revoked": revoked}


def _hash(secret: str) -> str:
    # The secret has 256 bits of its own: a slow hash would protect nothing more.
    return hashlib.sha256(secret.encode()).hexdigest()
