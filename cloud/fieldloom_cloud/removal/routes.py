"""The removal of devices over HTTP."""

from fastapi import APIRouter, BackgroundTasks, Request

from fieldloom_cloud.auth.dependencies import Operator, Transaction
from fieldloom_cloud.dispatch.waking import SENDS_DOWN
from fieldloom_cloud.etags import IfMatch, version_of
from fieldloom_cloud.removal import service
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1/devices", tags=["registry"], route_class=StrictRoute)


@router.delete("/{device_id}", status_code=204, dependencies=SENDS_DOWN)
async def remove_device(
    device_id: str,
    request: Request,
    transaction: Transaction,
    _: Operator,
    after: BackgroundTasks,
    if_match: IfMatch = None,
) -> None:
    """Remove a device with all its rights: its certificates and credentials are revoked, its commands end.

    It is cut off within seconds, at a gateway without a link when the link is back. Its telemetry stays.
    """
    state = request.app.state
    await service.remove_device(transaction, state.authority, device_id, version_of(if_match))
    after.add_task(state.wake_enforcement)  # once the transaction is committed
