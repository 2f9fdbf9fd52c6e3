"""Revocation over HTTP, and the list that everybody may read. (P3)"""

from fastapi import APIRouter, BackgroundTasks, Request
from fastapi.responses import PlainTextResponse

from fieldloom_cloud.auth.dependencies import Operator, Transaction
from fieldloom_cloud.dispatch.waking import SENDS_DOWN
from fieldloom_cloud.pki import service as pki
from fieldloom_cloud.pki.schemas import CertificateOut, Revocation
from fieldloom_cloud.revocation import service
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1/certificates", tags=["certificates"], route_class=StrictRoute)
published = APIRouter(tags=["certificates"])


@router.post("/{serial}/revoke", dependencies=SENDS_DOWN)
async def revoke_certificate(
    serial: str, body: Revocation, request: Request, transaction: Transaction, _: Operator, after: BackgroundTasks
) -> CertificateOut:
    """Revoke a certificate for good. Its identity is cut off at every broker, and let in again with another one."""
    state = request.app.state
    revoked = await service.revoke(transaction, state.authority, serial, body.reason)
    after.add_task(state.wake_enforcement)  # once the transaction is committed
    return CertificateOut(**revoked)


@published.get("/crl.pem", response_class=PlainTextResponse)
async def revocation_list(request: Request, transaction: Transaction) -> str:
    """Return the CA's list of revoked certificates (RFC 5280), PEM."""
    return await pki.current_list(transaction, request.app.state.authority)
