"""How the cloud performs what workflows ask for. (W6, E3, A3)

What is SQL is done in the transaction of the step, so exactly once. A command is sent so, and its end is the outcome;
another workflow begins so, and its end is the outcome. What goes out waits for the caller, which makes it behind the
commit, at least once.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import structlog
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation.performing import Asked, NotPerformed, perform, refusals
from fieldloom_cloud.database import table_of
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.registry import search
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.origin import Origin
from fieldloom_cloud.workflows import edge, happenings, requests, starts
from fieldloom_cloud.workflows.definitions import Definitions
from fieldloom_cloud.workflows.happenings import Told
from fieldloom_cloud.workflows.kinds import COMMAND, GROUP_COMMAND, LOG, START, TELEMETRY
from fieldloom_cloud.workflows.models import CommandOfEffect, EffectRow, QueuedStart
from fieldloom_cloud.workflows.starts import Wish
from fieldloom_engine import commands
from fieldloom_engine.holds import asked_by
from fieldloom_engine.rules.firing import identity
from fieldloom_engine.workflows import Answered, Terminated
from fieldloom_engine.workflows.triggers import NotStarted, Start, by_request

log = structlog.get_logger()

WAITING, SENT, DONE, FAILED, WITHDRAWN = "waiting", "sent", "done", "failed", "withdrawn"
GOES_OUT = ("notification", "http", TELEMETRY)
"""Kinds that are performed behind the commit."""
CHANGES_NOTHING = (LOG, "latest")
TOKEN = "workflows"  # noqa: S105 - who has sent it, where else the id of a caller's token stands
GRACE_MS = 60_000
"""So long after a command has expired its outcome may still be on the way."""
NEVER = 2**62
MAX_DEPTH = 10
"""So many workflows may wait for each other."""
MAX_ATTEMPTS = 10
FIRST_WAIT_MS, LONGEST_WAIT_MS = 1000, 300_000

encode = msgspec.json.Encoder().encode
decode = msgspec.json.decode


class Wanted(NamedTuple):
    """An effect that an instance asks for."""

    id: str
    kind: str
    parameters: Mapping[str, Any]
    instance: str
    workflow: str
    depth: int
    """How many instances wait for the end of this one."""
    created: int
    """When it was asked for, Unix ms."""


class Waits(NamedTuple):
    """An effect of which the outcome is not known yet."""

    status: str
    due: int
    commands: tuple[str, ...] = ()
    """What was sent for it."""
    error: str | None = None


Outcome = Answered | Waits


class Performing:
    """Performs effects in the transaction of a step."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    async def __call__(self, session: AsyncSession, wanted: Wanted, now: int) -> Outcome:
        """Perform an effect, or tell how far it is. What is refused is an answer too."""
        if wanted.kind in GOES_OUT:
            return Waits(WAITING, now)
        try:
            if wanted.kind in CHANGES_NOTHING:
                return await self._perform(session, wanted, now)
            async with session.begin_nested():
                return await self._perform(session, wanted, now)
        except NotPerformed as error:
            if error.is_final:
                return Answered(wanted.id, False, None, error.reason)
            return Waits(WAITING, now + max(FIRST_WAIT_MS, error.after_ms), error=error.reason)

    async def _perform(self, session: AsyncSession, wanted: Wanted, now: int) -> Outcome:
        trail.begin(session, Origin(actor=wanted.workflow, action=f"workflow.{wanted.kind}"))
        if wanted.kind == COMMAND:
            return await _command(session, wanted, now)
        if wanted.kind == GROUP_COMMAND:
            return await _group_command(session, wanted, now)
        if wanted.kind == START:
            return await self._start(session, wanted, now)
        if wanted.kind == LOG:
            write = getattr(log, wanted.parameters["level"])
            write(
                "workflow_says", workflow=wanted.workflow, instance=wanted.instance, says=wanted.parameters["message"]
            )
            return Answered(wanted.id, True)
        asked = Asked(wanted.id, wanted.kind, wanted.workflow, wanted.parameters, now, False, wanted.created)
        return Answered(wanted.id, True, await perform(session, asked, now, asks="workflow"))

    async def _start(self, session: AsyncSession, wanted: Wanted, now: int) -> Outcome:
        if wanted.depth >= MAX_DEPTH:
            raise NotPerformed(f"more than {MAX_DEPTH} workflows would wait for each other", is_final=True)
        start = await self.start_of(session, wanted.id, wanted.parameters, now)
        begun = (await starts.begin(session, [Wish(start, wanted.instance, {"depth": wanted.depth + 1})], now))[
            wanted.id
        ]
        if begun.outcome in {"skipped", "refused"}:
            raise NotPerformed(f"{start.workflow.id} does not start: {begun.reason}", is_final=True)
        return Waits(SENT, NEVER)

    async def start_of(self, session: AsyncSession, id_: str, told: Mapping[str, Any], now: int) -> Start:
        """Return what an action `start_workflow` asks for. Raises NotPerformed."""
        await self._definitions.refresh(session)
        known = self._definitions
        workflow = known.at_work.get(told["workflow"]) or known.at_edge.get(told["workflow"])
        if workflow is None:
            raise NotPerformed(f"there is no workflow {told['workflow']}", is_final=True)
        variables = told.get("variables", {})
        if not isinstance(variables, dict):
            raise NotPerformed("variables is no object", is_final=True)
        start = by_request(workflow, id_, variables, now)
        if isinstance(start, NotStarted):
            raise NotPerformed(f"{workflow.id} does not start: {start.reason}", is_final=True)
        return start


async def keep(session: AsyncSession, asked: list[tuple[Wanted, Waits]]) -> None:
    """Keep effects of which the outcome is not known yet."""
    if not asked:
        return
    rows = [
        {
            "id": wanted.id,
            "instance": wanted.instance,
            "workflow": wanted.workflow,
            "kind": wanted.kind,
            "parameters": encode(wanted.parameters),
            "status": waits.status,
            "attempts": int(waits.error is not None),
            "due": waits.due,
            "created": wanted.created,
            "error": waits.error,
        }
        for wanted, waits in asked
    ]
    await session.execute(insert(table_of(EffectRow)), rows)
    await _keep_commands(session, asked)


async def _keep_commands(session: AsyncSession, asked: list[tuple[Wanted, Waits]]) -> None:
    sent = [{"command": command, "effect": wanted.id} for wanted, waits in asked for command in waits.commands]
    if sent:
        await session.execute(insert(table_of(CommandOfEffect)), sent)


async def withdraw(session: AsyncSession, abandoned: list[str], now: int) -> None:
    """Withdraw what does not matter any more and was not begun; what was begun has no one who hears of its outcome."""
    rows = list(await session.scalars(select(EffectRow).where(EffectRow.id.in_(abandoned))))
    open_ones = [row for row in rows if row.status in {WAITING, SENT}]
    for row in open_ones:
        row.status = WITHDRAWN
    sent = select(CommandOfEffect.command).where(CommandOfEffect.effect.in_([row.id for row in open_ones]))
    if found := list(await session.scalars(sent)):
        await dispatch.withdraw_commands(session, found, "its workflow does not need it any more")
    children = [row.id for row in open_ones if row.kind == START]
    await session.execute(delete(QueuedStart).where(QueuedStart.id.in_(children)))
    reason = "the workflow that waits for it goes on without it"
    elsewhere = await edge.among(session, children)
    for child, gateway in elsewhere.items():
        await requests.ask(session, gateway, child, Terminated(reason), now)
    here = (child for child in children if child not in elsewhere)
    await happenings.tell(session, (Told(child, Terminated(reason)) for child in here))


async def hear_commands(session: AsyncSession, ended: list[str]) -> bool:
    """Take note that commands may have ended, and say whether an instance hears of it."""
    of_them = select(CommandOfEffect.effect).where(CommandOfEffect.command.in_(ended))
    query = select(EffectRow).where(EffectRow.id.in_(of_them), EffectRow.status == SENT).order_by(EffectRow.id)
    query = query.with_for_update()  # else each of two processes would see the other's command as open
    answers = [answer for row in await session.scalars(query) if (answer := await _answer(session, row)) is not None]
    await happenings.tell(session, answers)
    return bool(answers)


async def hear_end(session: AsyncSession, instance: str, answer: Answered) -> Told | None:
    """Return what is told to the one that waits for an instance's end; None when nobody does any more."""
    row = await session.get(EffectRow, instance)
    if row is None or row.status != SENT:
        return None
    _settle(row, answer)
    return Told(row.instance, answer)


async def hear_ends(session: AsyncSession, ends: list[Answered]) -> bool:
    """Take note of the ends of instances elsewhere, and say whether an instance hears of one."""
    told = [one for end in ends if (one := await hear_end(session, end.effect, end)) is not None]
    await happenings.tell(session, told)
    return bool(told)


async def look_after(session: AsyncSession, perform_again: Performing, now: int, limit: int) -> int:
    """Try again what was put off, and give up commands of which no outcome comes; return how many those were."""
    query = select(EffectRow).where(
        EffectRow.status.in_((WAITING, SENT)), EffectRow.due <= now, EffectRow.kind.not_in(GOES_OUT)
    )
    rows = list(await session.scalars(query.order_by(EffectRow.due).limit(limit).with_for_update(skip_locked=True)))
    told: list[Told] = []
    for row in rows:
        if row.status == SENT:
            told.append(await _answer(session, row) or _given_up(row))
        elif (answer := await _again(session, perform_again, row, now)) is not None:
            told.append(answer)
    await happenings.tell(session, told)
    return len(rows)


async def claim(session: AsyncSession, now: int, lease_ms: int, limit: int) -> list[Wanted]:
    """Return what is to go out, and leave it to this process for so long: who does not come back is followed."""
    query = select(EffectRow).where(EffectRow.status == WAITING, EffectRow.due <= now, EffectRow.kind.in_(GOES_OUT))
    rows = list(await session.scalars(query.order_by(EffectRow.due).limit(limit).with_for_update(skip_locked=True)))
    for row in rows:
        row.due = now + lease_ms
    return [_wanted(row) for row in rows]


async def performed(session: AsyncSession, effect: str, outcome: Answered | NotPerformed, now: int) -> None:
    """Take note of how a call went; one that is to be made again is put off, longer each time."""
    row = await session.get(EffectRow, effect, with_for_update=True)
    if row is None or row.status != WAITING:
        return
    row.attempts += 1
    if isinstance(outcome, NotPerformed):
        if not outcome.is_final and row.attempts < MAX_ATTEMPTS:
            wait = min(FIRST_WAIT_MS * 2 ** (row.attempts - 1), LONGEST_WAIT_MS)
            row.due, row.error = now + max(wait, outcome.after_ms), outcome.reason
            return
        outcome = Answered(effect, False, None, outcome.reason)
    _settle(row, outcome)
    await happenings.tell(session, [Told(row.instance, outcome)])


def _wanted(row: EffectRow) -> Wanted:
    return Wanted(row.id, row.kind, decode(row.parameters), row.instance, row.workflow, 0, row.created)


def _settle(row: EffectRow, answer: Answered) -> None:
    row.status, row.error = DONE if answer.succeeded else FAILED, answer.error


async def _again(session: AsyncSession, perform_again: Performing, row: EffectRow, now: int) -> Told | None:
    outcome = await perform_again(session, _wanted(row), now)
    row.attempts += 1
    if isinstance(outcome, Waits):
        if row.attempts < MAX_ATTEMPTS:
            row.status, row.due, row.error = outcome.status, outcome.due, outcome.error
            await _keep_commands(session, [(_wanted(row), outcome)])
            return None
        outcome = Answered(row.id, False, None, outcome.error)
    _settle(row, outcome)
    return Told(row.instance, outcome)


def _given_up(row: EffectRow) -> Told:
    answer = Answered(row.id, False, None, "no outcome came before it expired")
    _settle(row, answer)
    return Told(row.instance, answer)


async def _answer(session: AsyncSession, row: EffectRow) -> Told | None:
    """Return the outcome of an effect if all its commands have ended."""
    sent = list(await session.scalars(select(CommandOfEffect.command).where(CommandOfEffect.effect == row.id)))
    found = await dispatch.outcomes(session, sent)
    if len(found) < len(sent) or any(one.status not in commands.FINAL for one in found.values()):
        return None
    if row.kind == COMMAND:
        one = found[row.id]
        error = None if one.status == commands.SUCCEEDED else one.error or f"the device has {one.status} it"
        answer = Answered(row.id, error is None, one.result, error)
    else:
        by_device = {
            one.device: {"status": one.status, "result": one.result, "error": one.error} for one in found.values()
        }
        succeeded = sum(one["status"] == commands.SUCCEEDED for one in by_device.values())
        told = {"succeeded": succeeded, "failed": len(by_device) - succeeded, "devices": by_device}
        answer = Answered(row.id, True, told)
    _settle(row, answer)
    return Told(row.instance, answer)


async def _command(session: AsyncSession, wanted: Wanted, now: int) -> Outcome:
    told = wanted.parameters
    expires = _expiry(wanted, now)
    await _send(session, wanted, told["device_id"], expires, wanted.id)
    return Waits(SENT, expires + GRACE_MS, (wanted.id,))


async def _group_command(session: AsyncSession, wanted: Wanted, now: int) -> Outcome:
    """Send a command to each device of a group; one that is refused for a device is an outcome of it."""
    told, expires = wanted.parameters, _expiry(wanted, now)
    with refusals():
        devices = await search.members(session, told["group"])
    sent, refused = [], {}
    for device in devices:
        command = identity(wanted.id, device)
        try:
            async with session.begin_nested():
                await _send(session, wanted, device, expires, command)
            sent.append(command)
        except NotPerformed as error:
            refused[device] = error.reason
    if not sent:
        result = {device: {"status": "refused", "result": None, "error": reason} for device, reason in refused.items()}
        return Answered(wanted.id, True, {"succeeded": 0, "failed": len(result), "devices": result})
    return Waits(SENT, expires + GRACE_MS, tuple(sent))


def _expiry(wanted: Wanted, now: int) -> int:
    expires: int = wanted.created + wanted.parameters["expires"]
    if expires <= now:
        raise NotPerformed("it expired before it could be sent", is_final=True)
    return expires


async def _send(session: AsyncSession, wanted: Wanted, device: str, expires: int, command: str) -> None:
    told = wanted.parameters
    asked = asked_by("workflow", f"{wanted.workflow}/{wanted.instance}", told.get("hold"), wanted.created)
    sent = (device, told["type"], told.get("parameters", {}), expires, TOKEN, command)
    wish = dispatch.Wish(*sent, *asked, id=command)
    with refusals():
        await dispatch.send(session, wish)
