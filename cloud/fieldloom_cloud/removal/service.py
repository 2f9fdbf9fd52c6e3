"""A device leaves the fleet with all its rights: nothing of it opens anything any more. (R1, P3, P8)"""

from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.credentials import service as credentials
from fieldloom_cloud.discoveries import service as discoveries
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.enrolment import service as enrolment
from fieldloom_cloud.pki.authority import Authority
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.revocation import service as revocation

REASON = "cessation_of_operation"


async def remove_device(session: AsyncSession, authority: Authority, device_id: str, version: int | None) -> None:
    """Remove a device; its certificates, credentials and claim are revoked and its commands end. Its telemetry stays.

    No site enters it again by itself. Raises NotFound and StaleVersion.
    """
    device = await registry.device(session, device_id)
    await revocation.revoke_all(session, authority, device_id, REASON)
    await credentials.revoke_all(session, device_id, REASON)
    await enrolment.forget_claim(session, device_id)
    await dispatch.end_commands(session, device_id, device["site"])
    await discoveries.keep_off(session, device)
    await registry.remove_device(session, device_id, version)
