"""A certificate is revoked, and every gateway is told in the transaction that does it. (P3)"""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.pki import service as pki
from fieldloom_cloud.pki.authority import Authority
from fieldloom_cloud.registry import service as registry
from fieldloom_runtime import down

PART_BYTES = 32 * 1024  # of a list: with base64 it fits every limit on the way
PART_NAMES = 250


async def revoke(session: AsyncSession, authority: Authority, serial: str, reason: str) -> dict[str, Any]:
    """Revoke a certificate for a reason, once; the first reason stays. Raises NotFound."""
    shown, is_new = await pki.revoke(session, authority, serial, reason)
    if is_new:
        crl = await pki.current_list(session, authority)
        subject = shown["subject"]
        cut, hold = ({subject}, set()) if await pki.has_valid(session, subject) else (set(), {subject})
        for gateway in await registry.gateways(session):
            await _tell(session, gateway["id"], crl, cut, hold)
    return shown


async def revoke_all(session: AsyncSession, authority: Authority, subject: str, reason: str) -> None:
    """Revoke every certificate of a device or gateway for a reason."""
    for serial in await pki.unrevoked(session, subject):
        await revoke(session, authority, serial, reason)


async def _tell(session: AsyncSession, gateway: str, crl: str, cut: set[str], hold: set[str]) -> None:
    """Queue a list for a gateway, in place of those that it has not taken yet, whose names it has to be told too."""
    for body in await dispatch.withdraw(session, gateway, down.REVOKED):
        waiting = down.decode(body)
        if isinstance(waiting, down.Revoked):
            cut, hold = cut | set(waiting.cut), hold | set(waiting.hold)
    for part in parts_of(crl, sorted(cut - hold), sorted(hold)):
        await dispatch.queue(session, gateway, down.REVOKED, down.encode(part))


def parts_of(crl: str, cut: list[str], hold: list[str]) -> list[down.Revoked]:
    """Return a list, PEM, and whom to cut off for it, in parts that the stream can carry."""
    number, der = pki.number_and_der(crl)
    count = max(-(-len(der) // PART_BYTES), -(-len(cut) // PART_NAMES), -(-len(hold) // PART_NAMES), 1)
    return [
        down.Revoked(
            number,
            at + 1,
            count,
            der[at * PART_BYTES : (at + 1) * PART_BYTES],
            cut[at * PART_NAMES : (at + 1) * PART_NAMES],
            hold[at * PART_NAMES : (at + 1) * PART_NAMES],
        )
        for at in range(count)
    ]
