"""Commands in SQL: made together with what has to be sent down, and moved on by what comes up. (A3)"""

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import to_builtins
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.changes import announce
from fieldloom_cloud.database import from_ms, insert, iso
from fieldloom_cloud.device_types import service as device_types
from fieldloom_cloud.dispatch.models import Command, DownRecord, DownStream
from fieldloom_cloud.errors import BadContent, Duplicate, NotFound
from fieldloom_cloud.registry import search
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.releases import service as releases
from fieldloom_cloud.trail import service as trail
from fieldloom_contract import messages
from fieldloom_contract.batch import STREAM_BYTES
from fieldloom_contract.errors import Rejected
from fieldloom_engine import commands
from fieldloom_engine.holds import Source, Wanted, actuator_of
from fieldloom_runtime.down import REMOVED, WITHDRAWN, Removed, Withdrawn, encode

EXPIRES_MS = 300_000
UPDATE = "update"


class Wish(NamedTuple):
    """What a caller asks of a device; `expires` in Unix ms, None for five minutes from now."""

    device: str
    type: str
    parameters: dict[str, Any]
    expires: int | None
    token: str
    idempotency_key: str | None
    source: Source
    """Who asks, as the cloud knows it: what decides where somebody holds what the command moves."""
    hold: Wanted | None = None
    """That the command is to hold it itself."""
    id: str | None = None
    """The command's, where its caller has one that says what it follows from; else one is drawn."""


class Sent(NamedTuple):
    """What became of a command for one device of several: the command, or what it was refused for."""

    device: str
    command: dict[str, Any] | None
    refused: BadContent | None


class Waiting(NamedTuple):
    """A record of the stream down to a gateway."""

    gateway: str
    stream: bytes
    number: int
    kind: str
    body: bytes


async def send(session: AsyncSession, wish: Wish) -> dict[str, Any]:
    """Make a command for every gateway of its device's site: one has the device.

    Raises NotFound, BadContent and Duplicate.
    """
    if wish.idempotency_key is not None:
        query = select(Command).filter_by(token=wish.token, idempotency_key=wish.idempotency_key)
        before = await session.scalar(query)
        if before is not None:
            return _shown(_same(before, wish))
    device = await registry.device(session, wish.device)
    await device_types.check_command(session, device["type"], wish.type, wish.parameters)
    if wish.hold is not None:
        _check_hold(wish, wish.hold)
    if wish.type == UPDATE:
        await releases.check_update(session, wish.parameters, device["board"])
    expires = wish.expires if wish.expires is not None else time.time_ns() // 1_000_000 + EXPIRES_MS
    fields = {"type": wish.type, "parameters": wish.parameters, "expires": expires}
    command = Command(id=wish.id or secrets.token_hex(8), device=wish.device, status=commands.PENDING, **fields)
    command.hold = _kept_hold(wish)
    command.token, command.idempotency_key = wish.token, wish.idempotency_key
    try:
        messages.command(command.id, wish.type, wish.parameters, expires)
    except Rejected as error:
        raise BadContent("No device would take this.", [{"path": error.field, "reason": error.reason}]) from None
    session.add(command)
    asked = {"source": to_builtins(wish.source)} | ({"hold": to_builtins(wish.hold)} if wish.hold else {})
    body = messages.dumps({"kind": "command", "device": wish.device, "id": command.id, **fields, **asked})
    for gateway in await registry.gateways(session):
        if gateway["site"] == device["site"]:
            await queue(session, gateway["id"], "command", body, command.id)
    try:
        await session.flush()
    except IntegrityError:
        raise Duplicate("a request with this Idempotency-Key is being answered at this moment") from None
    _announce(session, command)
    noted = {**fields, "expires": from_ms(expires)} | ({"hold": command.hold} if command.hold else {})
    trail.note(session, "command", command.id, None, noted, wish.device)
    return _shown(command)


async def send_to_group(session: AsyncSession, group: str, wish: Wish) -> list[Sent]:
    """Make a command for each device of a group; `wish.device` does not count. All are made or none is.

    With an idempotency key a device gets its command once: who asks again reaches those alone who have come since.
    Raises BadContent for a group that is not known or too large, and Duplicate.
    """
    devices = await search.members(session, group)
    return [await _send_to_member(session, wish._replace(device=device)) for device in devices]


async def _send_to_member(session: AsyncSession, wish: Wish) -> Sent:
    wish = wish._replace(idempotency_key=key_of_member(wish.idempotency_key, wish.device))
    try:
        return Sent(wish.device, await send(session, wish), None)
    except BadContent as error:
        return Sent(wish.device, None, error)


def key_of_member(key: str | None, device: str) -> str | None:
    """Return the idempotency key of one device of a group, made of the group's; None stays None."""
    if key is None:
        return None
    return "group:" + hashlib.sha256(f"{key}\0{device}".encode()).hexdigest()


def _same(before: Command, wish: Wish) -> Command:
    """Return the command of a repeated request. Raises BadContent when the key stands for another one."""
    told = (before.device, before.type, before.parameters, before.hold)
    if told != (wish.device, wish.type, wish.parameters, _kept_hold(wish)) or wish.expires not in (
        None,
        before.expires,
    ):
        reason = "was used for another request: draw a new one for each"
        raise BadContent("The key stands for another command.", [{"path": "Idempotency-Key", "reason": reason}])
    return before


def _check_hold(wish: Wish, hold: Wanted) -> None:
    """Raise BadContent for a hold that no gateway would take."""
    faults = []
    if actuator_of(wish.type, wish.parameters) is None:
        faults.append({"path": "hold", "reason": f"{wish.type} moves no actuator"})
    if hold.expires is not None and hold.expires <= time.time_ns() // 1_000_000:
        faults.append({"path": "hold.expires", "reason": "is over"})
    if faults:
        raise BadContent("Nothing can be held by this.", faults)


def _kept_hold(wish: Wish) -> dict[str, Any] | None:
    return None if wish.hold is None else {"priority": wish.source.priority, **to_builtins(wish.hold)}


async def queue(session: AsyncSession, gateway: str, kind: str, body: bytes, command_id: str | None = None) -> None:
    """Add a record to the stream down to a gateway."""
    # One statement, in which the database counts: of two senders at once each gets a number of its own.
    begun = insert(session, DownStream).values(gateway=gateway, stream=os.urandom(STREAM_BYTES), number=1)
    counted = begun.on_conflict_do_update(
        index_elements=[DownStream.gateway], set_={"number": DownStream.number + 1}
    ).returning(DownStream.number)
    number = (await session.execute(counted)).scalar_one()
    session.add(DownRecord(gateway=gateway, number=number, kind=kind, command=command_id, body=body))


async def end_commands(session: AsyncSession, device: str, site: str) -> None:
    """Let the commands of a device that is being removed expire, wherever they wait."""
    query = select(Command).where(Command.device == device, Command.status.not_in(commands.FINAL))
    for row in await session.scalars(query):
        row.status, row.error = commands.EXPIRED, "the device was removed"
        _announce(session, row)
    ended = select(Command.id).where(Command.device == device)
    for record in await session.scalars(select(DownRecord).where(DownRecord.command.in_(ended))):
        _empty(record)
    for gateway in await registry.gateways_of(session, site):
        await queue(session, gateway, REMOVED, encode(Removed(device)))


async def withdraw(session: AsyncSession, gateway: str, kind: str) -> list[bytes]:
    """Return the records of a kind that wait, and leave only their numbers, which the stream can't do without."""
    query = select(DownRecord).where(DownRecord.gateway == gateway, DownRecord.kind == kind)
    rows = list(await session.scalars(query.order_by(DownRecord.number)))
    told = [row.body for row in rows]
    for row in rows:
        _empty(row)
    return told


def _empty(row: DownRecord) -> None:
    row.kind, row.body, row.command = WITHDRAWN, encode(Withdrawn()), None


async def withdraw_commands(session: AsyncSession, ids: list[str], reason: str) -> None:
    """Let those of some commands expire that no gateway has acknowledged."""
    query = select(Command).where(Command.id.in_(ids), Command.status == commands.PENDING)
    rows = list(await session.scalars(query))
    for row in rows:
        row.status, row.error = commands.EXPIRED, reason
        _announce(session, row)
    ended = [row.id for row in rows]
    for record in await session.scalars(select(DownRecord).where(DownRecord.command.in_(ended))):
        _empty(record)


async def outcomes(session: AsyncSession, ids: list[str]) -> dict[str, Command]:
    """Return by id what has become of commands so far."""
    query = select(Command).where(Command.id.in_(ids)).execution_options(populate_existing=True)
    return {row.id: row for row in await session.scalars(query)}


async def waiting(session: AsyncSession, is_ours: Callable[[str], bool]) -> list[Waiting]:
    """Return all that those gateways which are ours have not acknowledged, in order."""
    gateways = [one for one in await session.scalars(select(DownRecord.gateway).distinct()) if is_ours(one)]
    query = select(DownRecord, DownStream.stream).join(DownStream, DownStream.gateway == DownRecord.gateway)
    query = query.where(DownRecord.gateway.in_(gateways))
    rows = await session.execute(query.order_by(DownRecord.gateway, DownRecord.number))
    return [Waiting(record.gateway, stream, record.number, record.kind, record.body) for record, stream in rows]


async def acknowledged(session: AsyncSession, gateway: str, stream: bytes, number: int) -> None:
    """Take note that a gateway has all up to a number of its stream on its disk."""
    down = await session.get(DownStream, gateway)
    if down is None or down.stream != stream:
        return
    done = (DownRecord.gateway == gateway) & (DownRecord.number <= number)
    for command_id in await session.scalars(select(DownRecord.command).where(done)):
        if command_id is not None:
            await hear(session, command_id, None, commands.GATEWAY_HAS_IT)
    await session.execute(delete(DownRecord).where(done))


async def hear(
    session: AsyncSession, command_id: str, device: str | None, word: str, told: dict[str, Any] | None = None
) -> None:
    """Move a command on by a word of its device or of a gateway; a word on another's command says nothing."""
    # Locked, since words on one command may come over two gateways to two processes.
    command = await session.get(Command, command_id, with_for_update=True)
    if command is None or (device is not None and command.device != device):
        return
    after = commands.step(command.status, word)
    if after == command.status:
        return
    if told is not None:
        command.result, command.error = told.get("result"), told.get("error")
    command.status = after
    _announce(session, command)


async def ended(session: AsyncSession, command_id: str) -> commands.Ended | None:
    """Return what a command came to, None if it has no end yet or is not known."""
    found = await session.get(Command, command_id)
    if found is None or found.status not in commands.FINAL:
        return None
    reason = commands.NO_ANSWER if found.status == commands.EXPIRED else None
    return commands.ended(found.status, found.result, found.error or reason)


async def command(session: AsyncSession, command_id: str) -> dict[str, Any]:
    """Return a command. Raises NotFound."""
    found = await session.get(Command, command_id)
    if found is None:
        raise NotFound(f"there is no command {command_id}")
    return _shown(found)


async def updates_to(session: AsyncSession, release: str) -> list[str]:
    """Return the devices with an update to a release that has no result yet; who was removed needs none any more."""
    query = select(Command.device).distinct().where(Command.type == UPDATE, Command.status.not_in(commands.FINAL))
    wanted = Command.parameters["release"].as_string() == release
    return [device for device in await session.scalars(query.where(wanted)) if await registry.is_known(session, device)]


async def commands_of(
    session: AsyncSession, device: str, asked: pages.Asked
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of a device's commands, the newest first, and the next page's cursor. Raises NotFound."""
    await registry.device(session, device)
    query = select(Command).where(Command.device == device).order_by(Command.created.desc(), Command.id.desc())
    found, following = await pages.read(session, query, asked, [datetime, str])
    return [_shown(row) for row in found], following


def _announce(session: AsyncSession, row: Command) -> None:
    names = ("id", "type", "status", "result", "error")
    announce(session, "command", row.device, {name: getattr(row, name) for name in names})


def _shown(row: Command) -> dict[str, Any]:
    names = ("id", "device", "type", "parameters", "status", "result", "error")
    moments = {"created": iso(row.created), "expires": from_ms(row.expires)}
    return {**{name: getattr(row, name) for name in names}, **moments}
