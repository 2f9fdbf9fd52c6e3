"""Enrolment: a claim, good once, brings the first certificate, and a certificate brings the next one. (P4)"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import iso, now
from fieldloom_cloud.enrolment.models import Claim
from fieldloom_cloud.errors import BadContent, Forbidden, NotFound, Unauthorized
from fieldloom_cloud.pki import service as pki
from fieldloom_cloud.pki.authority import Authority
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.origin import EST


async def add_claim(session: AsyncSession, subject: str, hosts: list[str], life: timedelta) -> dict[str, Any]:
    """Make the claim of a known device or gateway; its secret (`claim`) can't be shown again.

    `hosts` are a gateway's names and addresses as a server. Raises BadContent.
    """
    if not await registry.is_known(session, subject):
        reason = f"{subject} is neither a device nor a gateway of this cloud: register it first"
        raise BadContent("No claim for this.", [{"path": "id", "reason": reason}])
    if hosts and "." not in subject:
        reason = f"{subject} is a device, and only gateways are servers"
        raise BadContent("No claim for this.", [{"path": "hosts", "reason": reason}])
    secret = secrets.token_urlsafe(18)
    row = Claim(subject=subject, sha256=_hash(secret), hosts=hosts, created=now(), expires=now() + life, used=None)
    await session.merge(row)
    trail.note(session, "claim", subject, None, {"hosts": hosts, "expires": iso(row.expires)})
    return {"id": subject, "claim": secret, "hosts": hosts, "expires": iso(row.expires)}


async def enrol(session: AsyncSession, authority: Authority, subject: str, secret: str, csr: str) -> str:
    """Return the certificate, PEM, of who shows a claim; a refused request leaves the claim as it was.

    Raises Unauthorized and BadContent.
    """
    moment = now()
    open_ = (Claim.subject == subject, Claim.sha256 == _hash(secret), Claim.used.is_(None), Claim.expires > moment)
    hosts = await session.scalar(update(Claim).where(*open_).values(used=moment).returning(Claim.hosts))
    if hosts is None:
        raise Unauthorized(await _why(session, subject, secret, moment))
    trail.identify(session, EST, subject)
    issued = await pki.issue(session, authority, csr, tuple(hosts), subject=subject)
    return str(issued["certificate"])


async def enrol_again(session: AsyncSession, authority: Authority, shown: bytes, csr: str) -> str:
    """Return the next certificate, PEM, of who has shown one, DER, that the CA issued; the old one goes on.

    Raises Forbidden and BadContent.
    """
    serial, hosts = pki.serial_and_hosts(shown)
    try:
        before = await pki.certificate(session, serial)
    except NotFound:
        raise Forbidden(f"certificate {serial} was not issued to a device or gateway of this cloud") from None
    if before["revoked"] is not None:
        raise Forbidden(f"certificate {serial} was revoked ({before['reason']})")
    trail.identify(session, EST, before["subject"])
    issued = await pki.issue(session, authority, csr, hosts, subject=before["subject"])
    return str(issued["certificate"])


async def forget_claim(session: AsyncSession, subject: str) -> None:
    """Let a subject's claim, if it has one, open nothing any more."""
    await session.execute(delete(Claim).where(Claim.subject == subject))


async def _why(session: AsyncSession, subject: str, secret: str, moment: datetime) -> str:
    """Return why a claim is not good; who does not know its secret learns nothing of it."""
    row = await session.get(Claim, subject)
    if row is None or not secrets.compare_digest(row.sha256, _hash(secret)):
        return "no such device, or not its claim"
    if row.used is not None:
        return f"this claim was used at {iso(row.used)}: make a new one"
    return f"this claim has expired at {iso(row.expires)}, it is {iso(moment)}: make a new one"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
