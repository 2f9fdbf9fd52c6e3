"""Who may do what: API tokens, and sessions of people, which begin with a link that is good once. (A2)

Every secret is random, opaque and kept as SHA-256; revoked, ended or expired, it opens nothing from that moment on.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.auth.models import LoginLink, LoginSession, Token
from fieldloom_cloud.database import iso, now
from fieldloom_cloud.errors import NotFound, Unauthorized
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.origin import SESSION

ROLES = ("viewer", "operator", "admin")
PREFIX = "fl_"
LINK_LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(hours=12)


@dataclass(frozen=True)
class Caller:
    """Who makes a request: the holder of a token, which has a name, or of a session, which ends at `expires`."""

    id: str
    role: str
    expires: str | None = None
    name: str = ""

    def may(self, role: str) -> bool:
        """Whether the caller's role includes another."""
        return ROLES.index(self.role) >= ROLES.index(role)


async def add_token(session: AsyncSession, name: str, role: str) -> dict[str, Any]:
    """Make a token and return it with its secret (`token`), which nobody can show again."""
    secret = PREFIX + _secret()
    row = Token(id=_id(), name=name, role=role, sha256=_hash(secret))
    session.add(row)
    await session.flush()
    trail.note(session, "token", row.id, None, {"name": name, "role": role})
    return {**_shown(row), "token": secret}


async def tokens(session: AsyncSession) -> list[dict[str, Any]]:
    """Return all tokens, without their secrets."""
    return [_shown(row) for row in await session.scalars(select(Token).order_by(Token.created))]


async def revoke_token(session: AsyncSession, token_id: str) -> None:
    """Let a token open nothing any more. Raises NotFound."""
    row = await session.get(Token, token_id)
    if row is None:
        raise NotFound(f"there is no token {token_id}")
    if row.revoked is None:
        row.revoked = now()
        trail.note(session, "token", token_id, {"revoked": None}, {"revoked": iso(row.revoked)})


async def caller(session: AsyncSession, secret: str) -> Caller | None:
    """Return who holds a token's secret, None for one that is unknown or revoked."""
    query = select(Token).where(Token.sha256 == _hash(secret), Token.revoked.is_(None))
    token = await session.scalar(query)
    return Caller(token.id, token.role, name=token.name) if token else None


async def add_login_link(session: AsyncSession, role: str) -> tuple[str, datetime]:
    """Return the secret of a link that lets one person in, once, and until when it is good."""
    await session.execute(delete(LoginLink).where(LoginLink.expires <= now()))
    secret, expires = _secret(), now() + LINK_LIFE
    session.add(LoginLink(sha256=_hash(secret), role=role, expires=expires))
    trail.note(session, "login_link", "", None, {"role": role, "expires": iso(expires)})
    return secret, expires


async def log_in(session: AsyncSession, secret: str) -> tuple[str, Caller]:
    """Use a link up, and return the secret of a new session with who has it. Raises Unauthorized."""
    # The deletion itself decides: of two that come at once, one finds the row.
    link = (LoginLink.sha256 == _hash(secret)) & (LoginLink.expires > now())
    role = await session.scalar(delete(LoginLink).where(link).returning(LoginLink.role))
    if role is None:
        raise Unauthorized("the link is not known, was used already or has expired: ask for another one")
    await session.execute(delete(LoginSession).where(LoginSession.expires <= now()))
    cookie = _secret()
    row = LoginSession(id=_id(), role=role, sha256=_hash(cookie), expires=now() + SESSION_LIFE)
    session.add(row)
    trail.identify(session, SESSION, row.id)
    trail.note(session, "session", row.id, None, {"role": role, "expires": iso(row.expires)})
    return cookie, _person(row)


async def log_out(session: AsyncSession, session_id: str) -> None:
    """End a session; a token's id ends nothing."""
    ended = delete(LoginSession).where(LoginSession.id == session_id).returning(LoginSession.role)
    role = await session.scalar(ended)
    if role is not None:
        trail.note(session, "session", session_id, {"role": role}, None)


async def person(session: AsyncSession, cookie: str) -> Caller | None:
    """Return whose session a cookie's secret is, None if it is unknown, ended or expired."""
    query = select(LoginSession).where(LoginSession.sha256 == _hash(cookie), LoginSession.expires > now())
    row = await session.scalar(query)
    return _person(row) if row else None


async def is_still_good(session: AsyncSession, known: Caller) -> bool:
    """Whether a caller who was let in before would be now."""
    if known.expires is None:
        query = select(Token.id).where(Token.id == known.id, Token.revoked.is_(None))
    else:
        query = select(LoginSession.id).where(LoginSession.id == known.id, LoginSession.expires > now())
    return await session.scalar(query) is not None


def _person(row: LoginSession) -> Caller:
    return Caller(row.id, row.role, iso(row.expires))


def _shown(row: Token) -> dict[str, Any]:
    revoked = None if row.revoked is None else iso(row.revoked)
    return {"id": row.id, "name": row.name, "role": row.role, "created": iso(row.created), "revoked": revoked}


def _id() -> str:
    return secrets.token_hex(8)


def _secret() -> str:
    return secrets.token_urlsafe(32)


def _hash(secret: str) -> str:
    # The secret has 256 bits of its own: a slow hash would protect nothing more.
    return hashlib.sha256(secret.encode()).hexdigest()
