"""Credentials that are not certificates: issued, shown once, rotated with an overlap, revoked. (P8)

The gateways of a device's site are told in the transaction that changes something, and keep it, so that a device is let
in while the cloud is away.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.credentials import kinds
from fieldloom_cloud.credentials.models import Credential
from fieldloom_cloud.database import from_ms, iso, now
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.errors import BadContent, NotFound
from fieldloom_cloud.pki.sealing import Sealer
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.trail import service as trail
from fieldloom_runtime import down

log = structlog.get_logger()

HOUR_MS = 3_600_000
AT_ONCE = 500  # rows or devices that one statement asks for


class Wish(NamedTuple):
    """What a caller asks for; `overlap_hours` is how long the one before goes on."""

    device: str
    kind: str
    overlap_hours: int
    token: str


async def issue(session: AsyncSession, sealer: Sealer, wish: Wish) -> dict[str, Any]:
    """Make a credential of a known device and return it with its secret (`secret`), which nobody can show again.

    Those of the same kind that it had end with the overlap. Raises BadContent.
    """
    device = await _device(session, wish.device)
    fresh = kinds.MAKE[wish.kind]()
    credential_id = f"{wish.device}.{secrets.token_hex(6)}"
    kept = sealer.seal(credential_id, fresh.kept) if wish.kind in kinds.KEYS else fresh.kept
    row = Credential(id=credential_id, device=wish.device, kind=wish.kind, secret=kept, token=wish.token, created=now())
    ended = await _end_others(session, wish, int(row.created.timestamp() * 1000) + wish.overlap_hours * HOUR_MS)
    session.add(row)
    await session.flush()
    trail.note(session, "credential", credential_id, None, {"protocol": wish.kind}, wish.device)
    await _tell_site(session, device["site"], [*ended, row])
    return {**_shown(row), "secret": fresh.shown}


async def credentials(
    session: AsyncSession, device: str | None, asked: pages.Asked
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of credentials, of one device or of all, the newest first, and the next page's cursor."""
    query = select(Credential).order_by(Credential.created.desc(), Credential.id.desc())
    if device is not None:
        query = query.where(Credential.device == device)
    found, following = await pages.read(session, query, asked, [datetime, str])
    return [_shown(row) for row in found], following


async def revoke(session: AsyncSession, credential_id: str, reason: str) -> dict[str, Any]:
    """Revoke a credential for a reason, once; the first reason stays. Raises NotFound."""
    row = await session.get(Credential, credential_id)
    if row is None:
        raise NotFound(f"there is no credential {credential_id}")
    if row.revoked is None:
        await _revoke(session, row.device, [row], reason)
    return _shown(row)


async def revoke_all(session: AsyncSession, device: str, reason: str) -> None:
    """Revoke all credentials of a device for a reason."""
    query = select(Credential).where(Credential.device == device, Credential.revoked.is_(None))
    await _revoke(session, device, list(await session.scalars(query.order_by(Credential.id))), reason)


async def restore(session: AsyncSession, gateway: str) -> None:
    """Send a gateway whose stream is new all that it may have lost, what was revoked too: it may have an old disk.

    Of a device that was removed every gateway is told.
    """
    known = list(await session.scalars(select(Credential.device).distinct().order_by(Credential.device)))
    for start in range(0, len(known), AT_ONCE):
        some = set(known[start : start + AT_ONCE])
        own = await registry.of_same_site(session, gateway, some)
        own |= some - await registry.registered(session, some)
        query = select(Credential).where(Credential.device.in_(own)).order_by(Credential.created, Credential.id)
        for row in await session.scalars(query):
            await dispatch.queue(session, gateway, down.CREDENTIAL, row.id.encode())


async def told(session: AsyncSession, sealer: Sealer, waiting: Sequence[dispatch.Waiting]) -> list[bytes]:
    """Return what goes out for records that wait: those that only name a credential tell it, so no key lies there."""
    named = [one.body.decode() for one in waiting if one.kind == down.CREDENTIAL]
    rows: dict[str, Credential] = {}
    for start in range(0, len(named), AT_ONCE):
        query = select(Credential).where(Credential.id.in_(named[start : start + AT_ONCE]))
        rows |= {row.id: row for row in await session.scalars(query)}
    return [_told(rows[one.body.decode()], sealer) if one.kind == down.CREDENTIAL else one.body for one in waiting]


def _told(row: Credential, sealer: Sealer) -> bytes:
    is_sealed = row.revoked is None and row.kind in kinds.KEYS
    secret = sealer.open(row.id, row.secret) if is_sealed else row.secret
    if secret is None:
        log.error("credential_not_readable", id=row.id, way_out="restore pki/credentials.key")
        return down.encode(down.Withdrawn())
    return down.encode(down.Credential(row.id, row.device, row.kind, secret, row.ends if row.revoked is None else 0))


async def _device(session: AsyncSession, device: str) -> dict[str, Any]:
    try:
        return await registry.device(session, device)
    except NotFound:
        reason = f"{device} is no device of this cloud: register it first"
        raise BadContent("No credential for this.", [{"path": "device", "reason": reason}]) from None


async def _revoke(session: AsyncSession, device: str, rows: list[Credential], reason: str) -> None:
    for row in rows:
        row.revoked, row.reason, row.secret = now(), reason, b""
        before, after = {"revoked": None, "reason": None}, {"revoked": iso(row.revoked), "reason": reason}
        trail.note(session, "credential", row.id, before, after, device)
    known = await registry.device(session, device) if await registry.is_known(session, device) else None
    await _tell_site(session, known["site"] if known else None, rows)


async def _end_others(session: AsyncSession, wish: Wish, ends: int) -> list[Credential]:
    """Let a device's credentials of a kind end at a time, in Unix ms, and return those that would have gone on."""
    same = (Credential.device == wish.device, Credential.kind == wish.kind, Credential.revoked.is_(None))
    goes_on = or_(Credential.ends.is_(None), Credential.ends > ends)
    rows = list(await session.scalars(select(Credential).where(*same, goes_on)))
    for row in rows:
        before = None if row.ends is None else from_ms(row.ends)
        trail.note(session, "credential", row.id, {"ends": before}, {"ends": from_ms(ends)}, row.device)
        row.ends = ends
    return rows


async def _tell_site(session: AsyncSession, site: str | None, rows: list[Credential]) -> None:
    """Queue credentials for the gateways of a site; of a device that was removed, for all."""
    for gateway in await registry.gateways(session):
        if site in (None, gateway["site"]):
            for row in rows:
                await dispatch.queue(session, gateway["id"], down.CREDENTIAL, row.id.encode())


def _shown(row: Credential) -> dict[str, Any]:
    told = {name: getattr(row, name) for name in ("id", "device", "kind", "reason")}
    told["ends"] = None if row.ends is None else from_ms(row.ends)
    told["revoked"] = None if row.revoked is None else iso(row.revoked)
    return {**told, "created": iso(row.created)}
