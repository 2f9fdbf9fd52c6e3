"""A device asks for its next certificate over its gateway: the connection that brought it says who asks. (P4)"""

from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.errors import BadContent
from fieldloom_cloud.pki import service as pki
from fieldloom_cloud.pki.authority import Authority, BadRequest, request_from_der
from fieldloom_contract import renewal
from fieldloom_runtime.down import Answered


async def answer(session: AsyncSession, authority: Authority, device: str, csr: bytes) -> Answered:
    """Return what a registered device is answered: a certificate, the same one for the same request, or a reason."""
    request = renewal.fingerprint(csr)
    try:
        pem = await pki.issued_for(session, device, request)
        if pem is None:
            await pki.refuse_revoked(session, device)
            issued = await pki.issue(session, authority, request_from_der(csr), (), subject=device, request=request)
            pem = issued["certificate"]
    except BadContent as error:
        return Answered(device, request, error="; ".join(fault["reason"] for fault in error.errors or []))
    except BadRequest as error:
        return Answered(device, request, error=str(error))
    return Answered(device, request, pki.leaf(pem))
