"""Claims over HTTP; what they are good for is EST's, on a listener of its own."""

from datetime import timedelta

from fastapi import APIRouter

from fieldloom_cloud.auth.dependencies import Operator, Transaction
from fieldloom_cloud.enrolment import service
from fieldloom_cloud.enrolment.schemas import ClaimIn, ClaimOut
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1/claims", tags=["certificates"], route_class=StrictRoute)


@router.post("", status_code=201)
async def add_claim(body: ClaimIn, transaction: Transaction, _: Operator) -> ClaimOut:
    """Make a one-time claim, by which a device or gateway fetches its first certificate over EST (RFC 7030)."""
    life = timedelta(hours=body.hours)
    return ClaimOut(**await service.add_claim(transaction, body.id, body.hosts, life))
