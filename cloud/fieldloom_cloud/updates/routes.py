"""The deletion of releases over HTTP."""

from fastapi import APIRouter

from fieldloom_cloud.auth.dependencies import Operator, Transaction
from fieldloom_cloud.errors import described
from fieldloom_cloud.strict import StrictRoute
from fieldloom_cloud.updates import service

router = APIRouter(prefix="/api/v1/releases", tags=["releases"], route_class=StrictRoute)


@router.delete("/{release_id}", status_code=204, responses={409: described(409)})
async def remove_release(release_id: str, transaction: Transaction, _: Operator) -> None:
    """Forget a release; one that a device is being updated to stays."""
    await service.remove_release(transaction, release_id)
