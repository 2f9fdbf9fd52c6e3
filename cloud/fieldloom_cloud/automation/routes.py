"""Rules over HTTP. (E2, E5, E6, E10, A1)"""

import asyncio
import time
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Path, Query, Request, Response

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.automation import checking, effects, schemas, service
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.errors import BadContent, described
from fieldloom_cloud.etags import IfMatch, version_of
from fieldloom_cloud.ingest import service as ingest
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.strict import StrictRoute
from fieldloom_engine import rules
from fieldloom_engine.rules.compiling import Compiled

router = APIRouter(prefix="/api/v1", tags=["rules"], route_class=StrictRoute)

RuleName = Annotated[str, Path(min_length=1, max_length=64)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


@router.get("/rules")
async def list_rules(
    transaction: Transaction, _: Viewer, cursor: str | None = None, limit: Limit = 100
) -> Page[schemas.RuleListed]:
    found, following = await service.listed(transaction, Asked(limit=limit, cursor=cursor))
    return Page[schemas.RuleListed].model_validate({"items": found, "next": following})


@router.get("/rules/schema")
async def rule_schema(_: Viewer) -> dict[str, Any]:
    """Return the JSON Schema of a rule's file."""
    return rules.schema()


@router.post("/rules/validate")
async def validate_rule(
    body: schemas.Validation, request: Request, transaction: Transaction, _: Viewer
) -> schemas.Validated:
    """Return all that is wrong with a document, its own cases run, and what may not be meant."""
    try:
        rule = await asyncio.to_thread(checking.checked, body.document)
        await service.hold_group(transaction, rule)
    except BadContent as error:
        return schemas.Validated.model_validate({"valid": False, "errors": error.errors, "warnings": []})
    warned = checking.warnings(rule, await request.app.state.writers(transaction))
    return schemas.Validated.model_validate(
        {"valid": True, "errors": [], "warnings": [one._asdict() for one in warned]}
    )


@router.post("/rules/explain", responses={404: described(404)})
async def explain_rule(
    body: schemas.Question, request: Request, transaction: Transaction, _: Viewer
) -> schemas.Explained:
    """Return which part of a rule's condition holds for an event and which does not, with the values. (E10)

    A rule that runs in the cloud is asked with what it remembers of the source; any other begins from nothing.
    """
    event = _event(body.event)
    if (body.rule is None) == (body.document is None):
        raise BadContent("The question makes no sense.", [{"path": "rule", "reason": "or document must be there"}])
    found = None
    if body.rule is not None:
        rule = await service.version_of(transaction, body.rule, None)
        found = await request.app.state.rules.explain(body.rule, event)
    else:
        rule = await asyncio.to_thread(checking.checked, body.document)
    found = found or rules.explain(Compiled(rule), event, None)
    return schemas.Explained.model_validate(found.as_json())


@router.get("/rules/{rule_id}")
async def show_rule(
    rule_id: RuleName,
    request: Request,
    response: Response,
    transaction: Transaction,
    _: Viewer,
    version: Annotated[str | None, Query(max_length=20, description="By default the one at work.")] = None,
) -> schemas.RuleShown:
    return await _shown(request, transaction, await service.show(transaction, rule_id, version), response)


@router.put("/rules/{rule_id}", responses={412: described(412)})
async def deploy_rule(
    rule_id: RuleName,
    body: schemas.Deployment,
    request: Request,
    response: Response,
    transaction: Transaction,
    caller: Operator,
    after: BackgroundTasks,
    if_match: IfMatch = None,
) -> schemas.RuleShown:
    """Put a version of a rule to work, here and at gateways as its `placement` says. Its own cases must pass.

    A version never changes: what says something else needs another version.
    """
    rule = await asyncio.to_thread(checking.checked, body.document)
    if rule.id != rule_id:
        reason = f"must be {rule_id}, as the address says"
        raise BadContent("The rule can't be taken.", [{"path": "document.id", "reason": reason}])
    wish = service.Wish(body.mode, version_of(if_match), caller.id)
    deployed = await service.deploy(transaction, rule, wish)
    after.add_task(request.app.state.wake_rules)  # once the transaction is committed
    return await _shown(request, transaction, deployed, response)


@router.post("/rules/{rule_id}/activate", responses={412: described(412)})
async def activate_rule(
    rule_id: RuleName,
    body: schemas.Activation,
    request: Request,
    response: Response,
    transaction: Transaction,
    caller: Operator,
    after: BackgroundTasks,
    if_match: IfMatch = None,
) -> schemas.RuleShown:
    """Put a version that was deployed before to work, in a mode: so one goes back, or out of the shadow."""
    wish = service.Wish(body.mode, version_of(if_match), caller.id)
    activated = await service.activate(transaction, rule_id, body.version, wish)
    after.add_task(request.app.state.wake_rules)  # once the transaction is committed
    return await _shown(request, transaction, activated, response)


@router.delete("/rules/{rule_id}", status_code=204)
async def remove_rule(
    rule_id: RuleName,
    request: Request,
    transaction: Transaction,
    _: Operator,
    after: BackgroundTasks,
    if_match: IfMatch = None,
) -> None:
    """Remove a rule with all its versions, here and at the gateways; what it has told stays."""
    await service.remove(transaction, rule_id, version_of(if_match))
    after.add_task(request.app.state.wake_rules)  # once the transaction is committed


@router.get("/rules/{rule_id}/firings")
async def list_firings(
    rule_id: RuleName, transaction: Transaction, _: Viewer, cursor: str | None = None, limit: Limit = 100
) -> Page[schemas.FiringOut]:
    """Return when a rule has fired, here and at gateways, the newest first."""
    await service.show(transaction, rule_id)
    found, following = await ingest.firings(transaction, rule_id, Asked(limit=limit, cursor=cursor))
    items = [{**one, "at": from_ms(one["at"])} for one in found]
    return Page[schemas.FiringOut].model_validate({"items": items, "next": following})


async def _shown(
    request: Request, transaction: Transaction, told: dict[str, Any], response: Response
) -> schemas.RuleShown:
    response.headers["ETag"] = f'"{told["revision"]}"'
    rule = await service.version_of(transaction, told["id"], None)
    warned = [one._asdict() for one in checking.warnings(rule, await request.app.state.writers(transaction))]
    counted = await effects.counts(transaction, told["id"])
    return schemas.RuleShown.model_validate({**told, "effects": counted, "warnings": warned})


def _event(asked: schemas.AskedEvent) -> rules.Event:
    ts = time.time_ns() // 1_000_000 if asked.ts is None else milliseconds(asked.ts)
    return rules.Event("asked", asked.type, asked.source, ts, asked.data, asked.metadata)


def milliseconds(moment: datetime) -> int:
    """Return Unix ms."""
    return round(moment.timestamp() * 1000)
