"""API tokens: random, opaque, kept as SHA-256, revoked at once. (A2)"""

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.auth.models import Token

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


async def add_token(session: AsyncSession, name: str, role: str) -> str:
    """Make a token and return its secret, which nobody can show again."""
    secret = PREFIX + secrets.token_urlsafe(32)
    session.add(Token(id=secrets.token_hex(8), name=name, role=role, sha256=_hash(secret)))
    return secret


async def caller(session: AsyncSession, secret: str) -> Caller | None:
    """Return who holds a secret, None for one that is unknown or revoked."""
    query = select(Token).where(Token.sha256 == _hash(secret), Token.revoked.is_(None))
    token = await session.scalar(query)
    return Caller(token.id, token.role) if token else None


def _hash(secret: str) -> str:
    # The secret has 256 bits of its own: a slow hash would protect nothing more.
    return hashlib.sha256(secret.encode()).hexdigest()
