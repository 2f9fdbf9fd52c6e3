"""Certificates for known subjects, stored with what they were issued for, until they are revoked. (P2, P3)"""

from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import case, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import iso, now
from fieldloom_cloud.errors import BadContent, NotFound
from fieldloom_cloud.pki.authority import (
    Authority,
    BadRequest,
    Revoked,
    common_name,
    fingerprint,
    list_number,
    read_request,
)
from fieldloom_cloud.pki.models import Certificate, RevocationList
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.trail import service as trail

LISTED_PAST_END = timedelta(days=365)  # a broker whose clock is behind would take a certificate that has ended


async def issue(
    session: AsyncSession,
    authority: Authority,
    csr: str,
    hosts: tuple[str, ...],
    *,
    subject: str | None = None,
    allow_revoked_key: bool = False,
    request: str = "",
) -> dict[str, Any]:
    """Issue from a CSR for a known device or gateway, with `hosts` as a gateway's server. Raises BadContent.

    With `subject` for that one alone; `request` is what `issued_for` finds it by.
    A key of which a certificate was revoked is refused, whoever shows it, unless the caller allows it.
    """
    try:
        read = read_request(csr)
        subject = subject or common_name(read)
        if not await registry.is_known(session, subject):
            raise BadRequest(f"{subject} is neither a device nor a gateway of this cloud")
        if hosts and "." not in subject:
            raise BadRequest(f"{subject} is a device, and only gateways are servers")
        key = fingerprint(read)
        if not allow_revoked_key:
            await _refuse_revoked(session, key)
        issued = authority.issue(csr, subject, hosts)
    except BadRequest as error:
        raise BadContent("No certificate for this request.", [{"path": "csr", "reason": str(error)}]) from None
    fields = {"serial": issued.serial, "pem": issued.pem, "not_after": issued.not_after}
    row = Certificate(subject=subject, key=key, request=request, **fields)
    session.add(row)
    await session.flush()
    told = {"not_after": iso(row.not_after), "hosts": list(hosts)}
    trail.note(session, "certificate", issued.serial, None, told, subject)
    return {**_shown(row), "ca": authority.ca.read_text()}


async def issued_for(session: AsyncSession, subject: str, request: str) -> str | None:
    """Return the certificate, PEM, that was issued to a subject for a request and is not revoked, if there is one."""
    query = select(Certificate.pem).filter_by(subject=subject, request=request).where(Certificate.revoked.is_(None))
    pem: str | None = await session.scalar(query)
    return pem


async def refuse_revoked(session: AsyncSession, subject: str) -> None:
    """Raise BadRequest for a subject all of whose certificates were revoked or have ended, one of them revoked."""
    query = select(Certificate.serial).where(Certificate.subject == subject, Certificate.revoked.is_not(None)).limit(1)
    if await session.scalar(query) is not None and not await has_valid(session, subject):
        raise BadRequest(f"the certificates of {subject} were revoked")


def leaf(pem: str) -> bytes:
    """Return the first of some certificates, DER."""
    return x509.load_pem_x509_certificates(pem.encode())[0].public_bytes(Encoding.DER)


async def _refuse_revoked(session: AsyncSession, key: str) -> None:
    query = select(Certificate).where(Certificate.key == key, Certificate.revoked.is_not(None)).limit(1)
    found = await session.scalar(query)
    if found is not None:
        raise BadRequest(f"a certificate of this key was revoked ({found.reason}): make a new key")


async def revoke(session: AsyncSession, authority: Authority, serial: str, reason: str) -> tuple[dict[str, Any], bool]:
    """Revoke a certificate, with a new list of all that are; say whether it is new. Raises NotFound."""
    when = now()
    change = update(Certificate).where(Certificate.serial == serial, Certificate.revoked.is_(None))
    await session.execute(change.values(revoked=when, reason=reason))
    row = await _certificate(session, serial)
    is_new = row.revoked is not None and row.revoked.replace(tzinfo=None) == when.replace(tzinfo=None)
    if is_new:
        await _renew_list(session, authority)
        before, after = {"revoked": None, "reason": None}, {"revoked": iso(when), "reason": reason}
        trail.note(session, "certificate", serial, before, after, row.subject)
    return _shown(row), is_new


async def unrevoked(session: AsyncSession, subject: str) -> list[str]:
    """Return the serials of a subject's certificates that are not revoked, ended ones too: a clock may be behind."""
    query = select(Certificate.serial).where(Certificate.subject == subject, Certificate.revoked.is_(None))
    return list(await session.scalars(query.order_by(Certificate.issued, Certificate.serial)))


async def has_valid(session: AsyncSession, subject: str) -> bool:
    """Whether a subject has a certificate that is neither revoked nor past its end."""
    valid = (Certificate.subject == subject, Certificate.revoked.is_(None), Certificate.not_after > now())
    return await session.scalar(select(Certificate.serial).where(*valid).limit(1)) is not None


async def revoked_gateways(session: AsyncSession) -> dict[str, str]:
    """Return the gateways' certificates on the list: {serial: gateway}."""
    query = select(Certificate).where(*_listed(), Certificate.subject.contains("."))
    return {row.serial: row.subject for row in await session.scalars(query)}


async def current_list(session: AsyncSession, authority: Authority) -> str:
    """Return the newest list of revoked certificates, PEM; the first one is made when it is asked for."""
    pem = await session.scalar(select(RevocationList.pem))
    return pem if pem is not None else await _renew_list(session, authority)


def serial_and_hosts(der: bytes) -> tuple[str, tuple[str, ...]]:
    """Return a certificate's serial, and the names and addresses of which it is a server."""
    shown = x509.load_der_x509_certificate(der)
    try:
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return f"{shown.serial_number:x}", ()
    return f"{shown.serial_number:x}", tuple(names.get_values_for_type(x509.DNSName))


def number_and_der(pem: str) -> tuple[int, bytes]:
    """Return a list's number, and the list in DER."""
    crl = x509.load_pem_x509_crl(pem.encode())
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return number, crl.public_bytes(Encoding.DER)


async def _renew_list(session: AsyncSession, authority: Authority) -> str:
    # Changed before the rows are read: so no two lists are made from the same rows. The time is in the number, since a
    # cloud that was restored from a copy must not give one again.
    following, of_now = RevocationList.number + 1, list_number(now())
    after = case((following > of_now, following), else_=of_now)
    number = await session.scalar(update(RevocationList).values(number=after).returning(RevocationList.number))
    rows = await session.scalars(select(Certificate).where(*_listed()).order_by(Certificate.revoked))
    entries = [Revoked(row.serial, row.revoked or now(), row.reason or "unspecified") for row in rows]
    pem = authority.sign_list(number or list_number(now()), entries)
    if number is None:
        session.add(RevocationList(id=1, number=list_number(now()), pem=pem))
        await session.flush()
    else:
        await session.execute(update(RevocationList).values(pem=pem))
    return pem


def _listed() -> tuple[Any, ...]:
    return (Certificate.revoked.is_not(None), Certificate.not_after > now() - LISTED_PAST_END)


async def certificates(session: AsyncSession, subject: str | None) -> list[dict[str, Any]]:
    """Return the newest certificates, of one subject or of all."""
    query = select(Certificate).order_by(Certificate.issued.desc()).limit(500)
    if subject is not None:
        query = query.where(Certificate.subject == subject)
    return [_shown(row) for row in await session.scalars(query)]


async def certificate(session: AsyncSession, serial: str) -> dict[str, Any]:
    """Return one certificate. Raises NotFound."""
    return _shown(await _certificate(session, serial))


async def _certificate(session: AsyncSession, serial: str) -> Certificate:
    row = await session.get(Certificate, serial)
    if row is None:
        raise NotFound(f"there is no certificate {serial}")
    return row


def _shown(row: Certificate) -> dict[str, Any]:
    times = {"not_after": iso(row.not_after), "issued": iso(row.issued)}
    revoked = {"revoked": iso(row.revoked) if row.revoked else None, "reason": row.reason}
    return {"serial": row.serial, "subject": row.subject, "certificate": row.pem, **times, **revoked}
