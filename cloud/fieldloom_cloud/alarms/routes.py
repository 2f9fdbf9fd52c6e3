"""Alarms over HTTP, and who is not or else told of them. (E7)"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from fieldloom_cloud.alarms import escalation, mutes, service
from fieldloom_cloud.auth.dependencies import Admin, Operator, Transaction, Viewer
from fieldloom_cloud.database import now
from fieldloom_cloud.errors import described
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.registry.schemas import DeviceName, Strict, Text, Word
from fieldloom_cloud.strict import Instant, StrictRoute

router = APIRouter(prefix="/api/v1", tags=["alarms"], route_class=StrictRoute)

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Severity = Literal["info", "warning", "minor", "major", "critical"]
State = Literal["active", "acknowledged", "cleared", "withdrawn"]
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]


class AlarmOut(BaseModel):
    id: int
    device: str
    name: str
    rule: str | None = Field(description="The rule that raised it, where one did.")
    state: State
    severity: Severity
    message: str
    count: int = Field(description="How often it was raised while it was active.")
    raised_at: str
    cleared_at: str | None
    last: str = Field(description="When it was raised for the last time.")
    acknowledged_by: str | None
    muted: bool = Field(description="It came while its device was muted.")


class AlarmChange(BaseModel):
    at: str
    what: str
    by: str = Field(description="Who did it; empty where a rule or an escalation did.")
    note: str
    data: dict[str, Any]


class AlarmWhole(AlarmOut):
    history: list[AlarmChange]


class Counts(BaseModel):
    """How many are active and not acknowledged, by severity."""

    info: int
    warning: int
    minor: int
    major: int
    critical: int


class Note(Strict):
    note: Text = ""


class MuteIn(BaseModel, extra="forbid"):
    device: DeviceName | None = None
    group: DeviceName | None = None
    site: DeviceName | None = None
    starts: Instant | None = Field(None, description="By default now.")
    ends: Instant
    reason: Text = Field(min_length=1)


class MuteOut(BaseModel):
    id: int
    device: str | None = None
    group: str | None = None
    site: str | None = None
    starts: str
    ends: str
    reason: str
    by: str


class EscalationIn(BaseModel, extra="forbid"):
    after_s: float = Field(ge=0.001, le=366 * 86_400, description="Unacknowledged for so long.")
    severity: Severity = Field("info", description="From which severity on.")
    site: DeviceName | None = None
    group: DeviceName | None = None
    raise_to: Severity | None = Field(None, description="How grave it becomes at the least.")
    recipient: Word | None = Field(None, description="Who is told then.")


class EscalationOut(EscalationIn):
    id: str


@router.get("/alarms")
async def list_alarms(
    transaction: Transaction,
    _: Viewer,
    device: str | None = None,
    site: str | None = None,
    group: str | None = None,
    name: str | None = None,
    state: Annotated[list[State] | None, Query(description="May be repeated: any of them.")] = None,
    severity: Annotated[list[Severity] | None, Query(description="May be repeated: any of them.")] = None,
    raised_from: Instant | None = None,
    raised_to: Annotated[Instant | None, Query(description="That moment is not in the range.")] = None,
    cursor: str | None = None,
    limit: Limit = 100,
) -> Page[AlarmOut]:
    """List alarms, the newest first."""
    wanted = service.Wanted(device, site, group, name, state or (), severity or (), raised_from, raised_to)
    found, following = await service.alarms(transaction, wanted, Asked(limit=limit, cursor=cursor))
    return Page[AlarmOut].model_validate({"items": found, "next": following})


@router.get("/alarms/counts")
async def count_alarms(transaction: Transaction, _: Viewer) -> Counts:
    return Counts(**await service.counted(transaction))


@router.get("/alarms/{alarm_id}")
async def show_alarm(alarm_id: Number, transaction: Transaction, _: Viewer) -> AlarmWhole:
    return AlarmWhole.model_validate(await service.alarm(transaction, alarm_id))


@router.post("/alarms/{alarm_id}/acknowledge", responses={409: described(409)})
async def acknowledge_alarm(alarm_id: Number, body: Note, transaction: Transaction, caller: Operator) -> AlarmWhole:
    """Say that somebody has seen it and cares: it escalates no more."""
    return AlarmWhole.model_validate(await service.acknowledge(transaction, alarm_id, caller.id, body.note))


@router.post("/alarms/{alarm_id}/clear", responses={409: described(409)})
async def clear_alarm(alarm_id: Number, body: Note, transaction: Transaction, caller: Operator) -> AlarmWhole:
    """End it by hand; its rule may raise it again."""
    return AlarmWhole.model_validate(await service.clear(transaction, alarm_id, caller.id, body.note))


@router.get("/mutes")
async def list_mutes(
    transaction: Transaction,
    _: Viewer,
    over: Annotated[bool, Query(description="Those that are over, in place of those that hold or will.")] = False,
    cursor: str | None = None,
    limit: Limit = 100,
) -> Page[MuteOut]:
    found, following = await mutes.mutes(transaction, Asked(limit=limit, cursor=cursor), over=over)
    return Page[MuteOut].model_validate({"items": found, "next": following})


@router.post("/mutes", status_code=201)
async def mute(body: MuteIn, transaction: Transaction, caller: Operator) -> MuteOut:
    """Mute a device, a group or a site for a time: alarms are recorded, and wake nobody."""
    targets = {kind: name for kind in mutes.KINDS if (name := getattr(body, kind)) is not None}
    told = await mutes.mute(transaction, targets, body.starts or now(), body.ends, body.reason, caller.id)
    return MuteOut(**told)


@router.delete("/mutes/{mute_id}", status_code=204)
async def unmute(mute_id: Number, transaction: Transaction, _: Operator) -> None:
    """End a mute now, or take one back that has not begun."""
    await mutes.unmute(transaction, mute_id)


@router.get("/escalations")
async def list_escalations(
    transaction: Transaction, _: Viewer, cursor: str | None = None, limit: Limit = 100
) -> Page[EscalationOut]:
    found, following = await escalation.escalations(transaction, Asked(limit=limit, cursor=cursor))
    return Page[EscalationOut].model_validate({"items": found, "next": following})


@router.put("/escalations/{escalation_id}")
async def put_escalation(
    escalation_id: DeviceName, body: EscalationIn, transaction: Transaction, _: Admin
) -> EscalationOut:
    fields = {**body.model_dump(exclude={"after_s"}), "after": int(body.after_s * 1000)}
    return EscalationOut(**await escalation.put(transaction, escalation_id, fields))


@router.delete("/escalations/{escalation_id}", status_code=204)
async def remove_escalation(escalation_id: str, transaction: Transaction, _: Admin) -> None:
    await escalation.remove(transaction, escalation_id)
