"""Certificates for known subjects, stored with what they were issued for. (P2)"""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import iso
from fieldloom_cloud.errors import BadContent, NotFound
from fieldloom_cloud.pki.authority import Authority, BadRequest, common_name, read_request
from fieldloom_cloud.pki.models import Certificate
from fieldloom_cloud.registry import service as registry


async def issue(session: AsyncSession, authority: Authority, csr: str, hosts: tuple[str, ...]) -> dict[str, Any]:
    """Issue from a CSR for a known device or gateway, with `hosts` as a gateway's server. Raises BadContent."""
    try:
        subject = common_name(read_request(csr))
        if not await registry.is_known(session, subject):
            raise BadRequest(f"{subject} is neither a device nor a gateway of this cloud")
        if hosts and "." not in subject:
            raise BadRequest(f"{subject} is a device, and only gateways are servers")
        issued = authority.issue(csr, subject, hosts)
    except BadRequest as error:
        raise BadContent("No certificate for this request.", [{"path": "csr", "reason": str(error)}]) from None
    row = Certificate(serial=issued.serial, subject=subject, pem=issued.pem, not_after=issued.not_after)
    session.add(row)
    await session.flush()
    return {**_shown(row), "ca": authority.ca.read_text()}


async def certificates(session: AsyncSession, subject: str | None) -> list[dict[str, Any]]:
    """Return the newest certificates, of one subject or of all."""
    query = select(Certificate).order_by(Certificate.issued.desc()).limit(500)
    if subject is not None:
        query = query.where(Certificate.subject == subject)
    return [_shown(row) for row in await session.scalars(query)]


async def certificate(session: AsyncSession, serial: str) -> dict[str, Any]:
    """Return one certificate. Raises NotFound."""
    row = await session.get(Certificate, serial)
    if row is None:
        raise NotFound(f"there is no certificate {serial}")
    return _shown(row)


def _shown(row: Certificate) -> dict[str, Any]:
    times = {"not_after": iso(row.not_after), "issued": iso(row.issued)}
    return {"serial": row.serial, "subject": row.subject, "certificate": row.pem, **times}
