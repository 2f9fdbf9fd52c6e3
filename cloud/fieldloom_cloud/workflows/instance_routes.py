"""Instances of workflows over HTTP. (W5, W7, A1)"""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Path, Query, Request

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.dispatch.waking import SENDS_DOWN
from fieldloom_cloud.errors import described
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.strict import StrictRoute
from fieldloom_cloud.workflows import instances, schemas

router = APIRouter(prefix="/api/v1", tags=["workflows"], route_class=StrictRoute)

InstanceId = Annotated[str, Path(min_length=1, max_length=32)]
Name = Annotated[str | None, Query(min_length=1, max_length=64)]
CONFLICT: dict[int | str, dict[str, Any]] = {409: described(409)}


@router.get("/instances")
async def list_instances(
    transaction: Transaction,
    _: Viewer,
    workflow: Name = None,
    status: schemas.Status | None = None,
    device: Name = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> Page[schemas.InstanceShort]:
    """Return instances, the newest first."""
    wanted = instances.Filter(workflow, status, device)
    found, following = await instances.listed(transaction, wanted, Asked(limit=limit, cursor=cursor))
    return Page[schemas.InstanceShort].model_validate({"items": found, "next": following})


@router.get("/instances/{instance_id}")
async def show_instance(
    instance_id: InstanceId,
    transaction: Transaction,
    _: Viewer,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="The record behind which history begins.")] = 0,
) -> schemas.InstanceOut:
    """Return an instance: where it is, what it waits for, and its history with results and durations."""
    return schemas.InstanceOut.model_validate(await instances.show(transaction, instance_id, after))


@router.post("/instances/{instance_id}/terminate", status_code=202, responses=CONFLICT, dependencies=SENDS_DOWN)
async def terminate_instance(
    instance_id: InstanceId,
    body: schemas.Termination,
    request: Request,
    transaction: Transaction,
    _: Operator,
    after: BackgroundTasks,
) -> schemas.InstanceTold:
    """End an instance; what it did is undone first."""
    told = await instances.terminate(transaction, instance_id, body.reason, undo=body.undo)
    _go_on(request, after)
    return schemas.InstanceTold.model_validate(told)


@router.post("/instances/{instance_id}/signal", status_code=202, responses=CONFLICT, dependencies=SENDS_DOWN)
async def signal_instance(
    instance_id: InstanceId,
    body: schemas.SignalIn,
    request: Request,
    transaction: Transaction,
    caller: Operator,
    after: BackgroundTasks,
) -> schemas.InstanceTold:
    """End a wait for an event of a type, whatever it would correlate by: as an approval does."""
    told = await instances.signal(transaction, instance_id, body.type, body.data, caller.id)
    _go_on(request, after)
    return schemas.InstanceTold.model_validate(told)


@router.post("/instances/{instance_id}/retry", status_code=202, responses=CONFLICT, dependencies=SENDS_DOWN)
async def retry_instance(
    instance_id: InstanceId,
    body: schemas.RetryWish,
    request: Request,
    transaction: Transaction,
    _: Operator,
    after: BackgroundTasks,
) -> schemas.InstanceTold:
    """Begin again with an instance that is over, at a state, with the variables that it ended with and others."""
    told = await instances.retry(transaction, instance_id, body.state, body.variables)
    _go_on(request, after)
    return schemas.InstanceTold.model_validate(told)


def _go_on(request: Request, after: BackgroundTasks) -> None:
    """Have what was told be taken here once the transaction is committed."""
    after.add_task(request.app.state.workflows.wake)
