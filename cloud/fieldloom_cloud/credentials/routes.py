"""Credentials that are not certificates, over HTTP. (P8)"""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.credentials import service
from fieldloom_cloud.dispatch.waking import SENDS_DOWN
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.pki.schemas import Revocation
from fieldloom_cloud.registry.schemas import DeviceName, Strict
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1/credentials", tags=["credentials"], route_class=StrictRoute)

MONTH_H = 31 * 24


class CredentialIn(Strict):
    device: DeviceName
    kind: Literal["http", "psk", "oscore", "amqp"]
    overlap_hours: int = Field(24, ge=0, le=MONTH_H, description="How long the one before of this kind goes on.")


class CredentialOut(BaseModel):
    id: str = Field(description="An AMQP user's name; the last 12 digits are a DTLS-PSK identity or OSCORE sender id.")
    device: str
    kind: str
    created: str
    ends: str | None = Field(description="When it ends because another one took its place.")
    revoked: str | None
    reason: str | None


class IssuedCredentialOut(CredentialOut):
    secret: str = Field(description="Shown now, and never again.")


@router.get("")
async def list_credentials(
    transaction: Transaction,
    _: Viewer,
    device: str | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> Page[CredentialOut]:
    found, following = await service.credentials(transaction, device, Asked(limit=limit, cursor=cursor))
    return Page[CredentialOut].model_validate({"items": found, "next": following})


@router.post("", status_code=201, dependencies=SENDS_DOWN)
async def issue_credential(
    body: CredentialIn, request: Request, transaction: Transaction, caller: Operator
) -> IssuedCredentialOut:
    """Issue a credential of a device. The gateways of its site take it within seconds, and then without the cloud."""
    wish = service.Wish(body.device, body.kind, body.overlap_hours, caller.id)
    issued = await service.issue(transaction, request.app.state.authority.sealer, wish)
    return IssuedCredentialOut(**issued)


@router.post("/{credential_id}/revoke", dependencies=SENDS_DOWN)
async def revoke_credential(
    credential_id: str,
    body: Revocation,
    transaction: Transaction,
    _: Operator,
) -> CredentialOut:
    """Revoke a credential for good, at once, at a gateway without a link when the link is back."""
    revoked = await service.revoke(transaction, credential_id, body.reason)
    return CredentialOut(**revoked)
