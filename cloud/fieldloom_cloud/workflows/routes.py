"""Workflows over HTTP. (W3, W4, W7, A1)"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Header, Path, Query, Request, Response

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.dispatch.waking import SENDS_DOWN
from fieldloom_cloud.errors import BadContent, described
from fieldloom_cloud.etags import IfMatch, version_of
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.strict import StrictRoute
from fieldloom_cloud.workflows import checking, instances, messages, picturing, schemas, service
from fieldloom_engine import workflows
from fieldloom_engine.workflows.graph import graph

router = APIRouter(prefix="/api/v1", tags=["workflows"], route_class=StrictRoute)

WorkflowName = Annotated[str, Path(min_length=1, max_length=64)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
IdempotencyKey = Annotated[str | None, Header(max_length=200)]


@router.get("/workflows")
async def list_workflows(
    transaction: Transaction, _: Viewer, cursor: str | None = None, limit: Limit = 100
) -> Page[schemas.WorkflowListed]:
    found, following = await service.listed(transaction, Asked(limit=limit, cursor=cursor))
    return Page[schemas.WorkflowListed].model_validate({"items": found, "next": following})


@router.get("/workflows/schema")
async def workflow_schema(_: Viewer) -> dict[str, Any]:
    """Return the JSON Schema of a workflow's file; which actions it may have depends on where it runs."""
    return workflows.schema()


@router.post("/workflows/validate")
async def validate_workflow(
    body: schemas.WorkflowDocument, request: Request, transaction: Transaction, _: Viewer
) -> schemas.WorkflowValidated:
    """Return all that is wrong with a document, and what may not be meant."""
    try:
        workflow = await asyncio.to_thread(checking.checked, body.document)
        await service.hold_group(transaction, workflow)
        warned = await _warnings(request, transaction, workflow)
    except BadContent as error:
        wrong = {"valid": False, "errors": error.errors, "warnings": [], "graph": None}
        return schemas.WorkflowValidated.model_validate(wrong)
    told = {"valid": True, "errors": [], "warnings": warned, "graph": graph(workflow).as_json()}
    return schemas.WorkflowValidated.model_validate(told)


@router.get("/workflows/{workflow_id}")
async def show_workflow(
    workflow_id: WorkflowName,
    request: Request,
    response: Response,
    transaction: Transaction,
    _: Viewer,
    version: Annotated[str | None, Query(max_length=20, description="By default the one at work.")] = None,
) -> schemas.WorkflowOut:
    return await _shown(request, transaction, await service.show(transaction, workflow_id, version), response)


@router.get("/workflows/{workflow_id}/graph", responses={409: described(409)})
async def show_workflow_graph(
    workflow_id: WorkflowName,
    transaction: Transaction,
    _: Viewer,
    version: Annotated[str | None, Query(max_length=20, description="By default the one at work.")] = None,
) -> schemas.GraphOut:
    """Return a version's states and the ways between them, and how many running instances are where."""
    return schemas.GraphOut.model_validate(await picturing.picture(transaction, workflow_id, version))


@router.put("/workflows/{workflow_id}", responses={412: described(412)})
async def deploy_workflow(
    workflow_id: WorkflowName,
    body: schemas.WorkflowDocument,
    request: Request,
    response: Response,
    transaction: Transaction,
    _: Operator,
    after: BackgroundTasks,
    if_match: IfMatch = None,
) -> schemas.WorkflowOut:
    """Deploy a version, which starts instances from now on; those that run finish on the one that they began with.

    A version never changes: what says something else needs another version.
    """
    workflow = await asyncio.to_thread(checking.checked, body.document)
    _hold_id(workflow, workflow_id)
    deployed = await service.deploy(transaction, workflow, version_of(if_match))
    after.add_task(request.app.state.workflows.refresh)  # once the transaction is committed
    return await _shown(request, transaction, deployed, response)


@router.delete("/workflows/{workflow_id}", status_code=204, responses={412: described(412)})
async def undeploy_workflow(
    workflow_id: WorkflowName,
    request: Request,
    transaction: Transaction,
    _: Operator,
    after: BackgroundTasks,
    version: Annotated[str | None, Query(max_length=20, description="By default all.")] = None,
    if_match: IfMatch = None,
) -> None:
    """Let a version, or all of them, start nothing any more. Instances that run go on to their end."""
    await service.undeploy(transaction, workflow_id, version, version_of(if_match))
    after.add_task(request.app.state.workflows.refresh)  # once the transaction is committed


@router.post(
    "/workflows/{workflow_id}/start", status_code=202, responses={409: described(409)}, dependencies=SENDS_DOWN
)
async def start_workflow(
    workflow_id: WorkflowName,
    body: schemas.StartWish,
    request: Request,
    transaction: Transaction,
    caller: Operator,
    after: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
) -> schemas.StartOut:
    """Start an instance. Who asks again with the same `Idempotency-Key` gets the same one."""
    workflow = await service.version_of(transaction, workflow_id, body.version)
    asked = instances.Asked(body.variables, caller.id, idempotency_key)
    begun = await instances.start(transaction, workflow, asked)
    after.add_task(request.app.state.workflows.wake)  # once the transaction is committed
    return schemas.StartOut.model_validate(begun)


@router.post("/workflows/{workflow_id}/check")
async def check_workflow(
    workflow_id: WorkflowName, body: schemas.WorkflowDocument, transaction: Transaction, _: Viewer
) -> schemas.WorkflowCheck:
    """Return which running instances could not go on under a document, and where. They go on under their own."""
    workflow = await asyncio.to_thread(checking.checked, body.document)
    _hold_id(workflow, workflow_id)
    return schemas.WorkflowCheck.model_validate(await instances.check(transaction, workflow))


def _hold_id(workflow: workflows.Workflow, id_: str) -> None:
    if workflow.id != id_:
        reason = f"must be {id_}, as the address says"
        raise BadContent("The workflow can't be taken.", [{"path": "document.id", "reason": reason}])


async def _shown(
    request: Request, transaction: Transaction, told: dict[str, Any], response: Response
) -> schemas.WorkflowOut:
    response.headers["ETag"] = f'"{told["revision"]}"'
    parsed = checking.parsed(told["document"])
    warned = [] if parsed is None else await _warnings(request, transaction, parsed)
    return schemas.WorkflowOut.model_validate({**told, "warnings": warned})


async def _warnings(request: Request, transaction: Transaction, workflow: workflows.Workflow) -> list[dict[str, str]]:
    """Return what is allowed and mostly a mistake, by itself and with what else is there."""
    others = await request.app.state.writers(transaction)
    return checking.warnings(workflow, others) + await messages.warnings(transaction, workflow)
