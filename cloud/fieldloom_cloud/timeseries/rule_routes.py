"""Rules of downsampling and retention over HTTP. (S3)"""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Path, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fieldloom_cloud.auth.dependencies import Admin, Transaction, Viewer
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.errors import BadContent
from fieldloom_cloud.pages import Page
from fieldloom_cloud.strict import StrictRoute
from fieldloom_cloud.timeseries import aggregates, service
from fieldloom_cloud.timeseries.downsampling import Rule
from fieldloom_cloud.timeseries.lengths import duration_ms, shown

router = APIRouter(prefix="/api/v1/timeseries", tags=["telemetry"], route_class=StrictRoute)

LEAST_WINDOW_MS, LONGEST_MS = 1000, 100 * 366 * 86_400_000
LEAST_KEPT_MS = 86_400_000
MOST_WINDOWS = 100_000  # of a look-back

RuleName = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]


def _length(text: str) -> str:
    if duration_ms(text) > LONGEST_MS:
        raise ValueError("must be 100 years at most")
    return text


Length = Annotated[str, AfterValidator(_length), Field(description="A number and one of ms, s, m, h, d, as 1m.")]
Metric = Annotated[str, Field(min_length=1, max_length=64)]


class RuleIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: Metric = Field(description="The metric whose points are made fewer, of every device that has it.")
    aggregate: str = Field(max_length=64, description="As in /telemetry.")
    percentile: float | None = Field(default=None, ge=0, le=1)
    window: Length
    target: Metric = Field(description="The metric that is made; a point has the time at which its window begins.")
    look_back: Length = Field(description="How far back windows are made anew each minute, for points that come late.")


class RuleOut(RuleIn):
    id: str
    made_until: str | None = Field(description="The end of the last window that is made.")


class RetentionIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    raw: Length | None = Field(description="How long points are kept; null for ever.")
    rolled: Length | None = Field(description="The same of what rules have made.")


class RetentionOut(RetentionIn):
    note: str | None = Field(description="What the operator has to do at the server of time series.")


@router.get("/rules")
async def list_downsampling_rules(transaction: Transaction, _: Viewer) -> Page[RuleOut]:
    return Page[RuleOut](items=[_shown(rule) for rule in await service.rules(transaction)])


@router.get("/rules/{rule_id}")
async def show_downsampling_rule(rule_id: RuleName, transaction: Transaction, _: Viewer) -> RuleOut:
    return _shown(await service.rule_of(transaction, rule_id))


@router.put("/rules/{rule_id}")
async def put_downsampling_rule(
    rule_id: RuleName, body: RuleIn, request: Request, transaction: Transaction, _: Admin, after: BackgroundTasks
) -> RuleOut:
    """Make a rule or change it. What it has made already stays; its look-back is made anew."""
    rule = await service.put_rule(transaction, _parsed(rule_id, body))
    after.add_task(request.app.state.wake_maintenance)  # once the transaction is committed
    return _shown(rule)


@router.delete("/rules/{rule_id}", status_code=204)
async def remove_downsampling_rule(rule_id: RuleName, transaction: Transaction, _: Admin) -> None:
    """Remove a rule; what it has made stays."""
    await service.remove_rule(transaction, rule_id)


@router.get("/retention")
async def show_retention(transaction: Transaction, _: Viewer) -> RetentionOut:
    return _told(await service.retention(transaction))


@router.put("/retention")
async def set_retention(
    body: RetentionIn, request: Request, transaction: Transaction, _: Admin, after: BackgroundTasks
) -> RetentionOut:
    """Set how long points are kept; what is older is gone within the hour, by whole days or shards."""
    raw_ms, rolled_ms = (_kept_ms(path, text) for path, text in (("raw", body.raw), ("rolled", body.rolled)))
    retention = await service.set_retention(transaction, raw_ms, rolled_ms)
    after.add_task(request.app.state.wake_maintenance)  # once the transaction is committed
    return _told(retention)


def _parsed(rule_id: str, body: RuleIn) -> Rule:
    window_ms, look_back_ms = duration_ms(body.window), duration_ms(body.look_back)
    if body.aggregate not in aggregates.names():
        raise _fault("aggregate", f"must be one of {', '.join(aggregates.names())}")
    if (body.percentile is not None) is not (body.aggregate == aggregates.PERCENTILE):
        raise _fault("percentile", "belongs to the aggregate percentile, which needs it, as 0.95")
    if window_ms < LEAST_WINDOW_MS:
        raise _fault("window", "must be 1s at least")
    if not window_ms <= look_back_ms <= MOST_WINDOWS * window_ms:
        raise _fault("look_back", f"must be 1 to {MOST_WINDOWS} windows")
    return Rule(rule_id, body.source, body.aggregate, body.percentile, window_ms, body.target, look_back_ms, None)


def _kept_ms(path: str, text: str | None) -> int | None:
    kept_ms = None if text is None else duration_ms(text)
    if kept_ms is not None and kept_ms < LEAST_KEPT_MS:
        raise BadContent("Points can't be kept for less than a day.", [{"path": path, "reason": "must be 1d at least"}])
    return kept_ms


def _shown(rule: Rule) -> RuleOut:
    return RuleOut(
        id=rule.id,
        source=rule.source,
        aggregate=rule.aggregate,
        percentile=rule.percentile,
        window=shown(rule.window_ms),
        target=rule.target,
        look_back=shown(rule.look_back_ms),
        made_until=None if rule.made_until is None else from_ms(rule.made_until),
    )


def _told(retention: service.Retention) -> RetentionOut:
    raw, rolled = (None if ms is None else shown(ms) for ms in (retention.raw_ms, retention.rolled_ms))
    return RetentionOut(raw=raw, rolled=rolled, note=retention.note)


def _fault(path: str, reason: str) -> BadContent:
    return BadContent("The rule makes no sense.", [{"path": path, "reason": reason}])
