"""How the cloud performs what rules ask for and SQL can do, kind by kind, in the transaction of its outcome. (E3)"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation.models import RuleEffect
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.errors import Problem, TooManyRequests
from fieldloom_cloud.ingest import service as ingest
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.origin import Origin
from fieldloom_cloud.twins import service as twins
from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine.holds import asked_by
from fieldloom_engine.rules import WITHDRAW
from fieldloom_runtime.records import Event

log = structlog.get_logger()

MAX_MESSAGE = 4096  # characters
TOKEN = "rules"  # noqa: S105 - who has sent it, where else the id of a caller's token stands


class NotPerformed(Exception):  # noqa: N818 - it reads as what happened
    """An effect that could not be performed; `is_final` when another attempt would end the same.

    `after_ms` is how long to wait at least before another one.
    """

    def __init__(self, reason: str, *, is_final: bool, after_ms: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final
        self.after_ms = after_ms


class Asked(NamedTuple):
    """An effect to perform; times in Unix ms."""

    id: str
    kind: str
    rule: str
    parameters: Mapping[str, Any]
    fired_at: int
    is_amendment: bool
    created: int


def asked(row: RuleEffect) -> Asked:
    """Return the effect of a row."""
    told = (row.parameters, row.fired_at, row.is_amendment, row.created)
    return Asked(row.id, row.kind, row.rule, *told)


Perform = Callable[[AsyncSession, Asked, int], Awaitable[Any]]
"""Performs an effect in a transaction at a time (Unix ms), and returns its result. Raises NotPerformed."""


async def perform(session: AsyncSession, effect: Asked, now: int, asks: str = "rule") -> Any:
    """Perform an effect of one of `IN_SQL`, of which a rule or a workflow asks. Raises NotPerformed."""
    trail.begin(session, Origin(actor=effect.rule, action=f"{asks}.{effect.kind}"))
    with refusals():
        return await IN_SQL[effect.kind](session, effect, now)


@contextmanager
def refusals() -> Iterator[None]:
    """Make what the cloud refuses an effect that is not performed. Raises NotPerformed."""
    try:
        yield
    except TooManyRequests as error:
        raise NotPerformed(error.detail, is_final=False) from None
    except Problem as error:
        faults = "; ".join(f"{fault['path']}: {fault['reason']}" for fault in error.errors or ())
        raise NotPerformed(f"{error.detail} {faults}".strip(), is_final=True) from None


async def _command(session: AsyncSession, effect: Asked, now: int) -> dict[str, Any]:
    told = effect.parameters
    expires = effect.created + told["expires"]
    if expires <= now:
        raise NotPerformed("it expired before it could be sent", is_final=True)
    device, parameters = told["device_id"], told.get("parameters", {})
    asked = asked_by("rule", effect.rule, told.get("hold"), effect.created)
    wish = dispatch.Wish(device, told["type"], parameters, expires, TOKEN, effect.id, *asked, id=effect.id)
    return {"command": (await dispatch.send(session, wish))["id"]}


async def _set_twin(session: AsyncSession, effect: Asked, _: int) -> dict[str, Any]:
    wish = twins.Wish(effect.parameters["device_id"], effect.parameters["desired"], None, TOKEN, effect.id)
    return {"version": (await twins.change(session, wish))["version"]}


async def _latest(session: AsyncSession, effect: Asked, _: int) -> dict[str, Any] | None:
    device, metric = effect.parameters["device_id"], effect.parameters["metric"]
    return (await ingest.latest_of(session, [device])).get(device, {}).get(metric)


async def _log(_: AsyncSession, effect: Asked, __: int) -> None:
    write = getattr(log, effect.parameters["level"])
    write("rule_says", rule=effect.rule, effect=effect.id, message=effect.parameters["message"])


async def _alarm(session: AsyncSession, effect: Asked, now: int) -> None:
    """Tell of an alarm's beginning, its end, or that one of them never was, as gateways do. (E7, E8)"""
    told = effect.parameters
    if len(told["alarm"]) > MAX_NAME:
        raise NotPerformed(f"the alarm's name has more than {MAX_NAME} characters", is_final=True)
    data: dict[str, Any] = {"alarm": told["alarm"], "key": effect.rule, "rule": effect.rule, "effect": effect.id}
    if effect.kind == WITHDRAW:
        kind, moment = "alarm.amended", {"withdrawn": told["effect"]}
    elif effect.kind == "raise_alarm":
        kind, moment = "alarm.raised", {"raised_at": effect.fired_at, "severity": told["severity"]}
        moment |= {"message": told["message"][:MAX_MESSAGE]} if "message" in told else {}
    else:
        kind, moment = "alarm.cleared", {"cleared_at": effect.fired_at}
    kind = "alarm.amended" if effect.is_amendment else kind
    record = Event(device=told["device_id"], ts=effect.fired_at, at=now, type=kind, data=data | moment)
    await ingest.store_event(session, "", record)


IN_SQL: Mapping[str, Perform] = {
    "command": _command,
    "set_twin": _set_twin,
    "latest": _latest,
    "log": _log,
    "raise_alarm": _alarm,
    "clear_alarm": _alarm,
    WITHDRAW: _alarm,
}
SENT_DOWN = ("command", "set_twin")
