"""Twins in SQL: patches go down to the gateways, which alone decide what is wanted, and what they say comes up. (R4)"""

import hashlib
import json
import secrets
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import from_ms, insert, iso
from fieldloom_cloud.device_types import service as device_types
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.errors import BadContent, StaleVersion, TooManyRequests
from fieldloom_cloud.registry import search
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.twins.models import Twin, TwinPatch
from fieldloom_engine import twin
from fieldloom_engine.twin import Desired, Patch
from fieldloom_runtime import down, records

PENDING, APPLIED, REFUSED = "pending", "applied", "refused"
AT_ONCE = 500  # devices that one statement asks for


class Wish(NamedTuple):
    """What a caller wants to be otherwise; `etag` is the one that he has seen, None takes any."""

    device: str
    changes: dict[str, Any]
    etag: str | None
    token: str
    idempotency_key: str | None


class Changed(NamedTuple):
    """What became of a patch for one device of several: the twin with the patch pending, or why it was refused."""

    device: str
    twin: dict[str, Any] | None
    refused: list[dict[str, str]]


async def show(session: AsyncSession, device: str) -> dict[str, Any]:
    """Return a twin and its ETag as `etag`. Raises NotFound."""
    await registry.device(session, device)
    return await _shown(session, await session.get(Twin, device) or _nothing(device))


async def change(session: AsyncSession, wish: Wish) -> dict[str, Any]:
    """Send a patch to every gateway of the device's site, which decide together; return the twin, the patch pending.

    Raises NotFound, StaleVersion, BadContent and TooManyRequests.
    """
    device = await registry.device(session, wish.device)
    # The count comes first: from here on, no other patch of this device comes between.
    await session.execute(insert(session, Twin).values(_defaults(wish.device)).on_conflict_do_nothing())
    await session.execute(update(Twin).where(Twin.device == wish.device).values(patches=Twin.patches + 1))
    row = await session.get_one(Twin, wish.device, populate_existing=True)
    if wish.idempotency_key is not None:
        query = select(TwinPatch).filter_by(token=wish.token, idempotency_key=wish.idempotency_key)
        before = await session.scalar(query)
        if before is not None:
            _hold_same(before, wish)
            return await _shown(session, row)
    waiting = await _waiting(session, wish.device)
    if not _is_meant(wish.etag, row, waiting):
        raise StaleVersion(f"the twin is at {_etag(row, waiting)}, not {wish.etag}: read it again")
    await device_types.check_desired(session, device["type"], _checked(row, waiting, wish.changes))
    patch = TwinPatch(id=secrets.token_hex(8), device=wish.device, number=row.patches, changes=wish.changes)
    patch.status, patch.token, patch.idempotency_key = PENDING, wish.token, wish.idempotency_key
    session.add(patch)
    had = {name: row.desired[name] for name in wish.changes if name in row.desired}
    trail.note(session, "twin", wish.device, {"desired": had}, {"desired": wish.changes, "patch": patch.id})
    for gateway in await registry.gateways(session):
        if gateway["site"] == device["site"]:
            await _queue(session, gateway["id"], row, patch)
    await session.flush()
    return await _shown(session, row)


async def change_group(session: AsyncSession, group: str, wish: Wish) -> list[Changed]:
    """Send a patch for each device of a group; `wish.device` does not count.

    With an idempotency key a device gets its patch once: who asks again reaches those alone who have come since.
    Raises BadContent for a group that is not known or too large.
    """
    return [await _change_member(session, wish._replace(device=each)) for each in await search.members(session, group)]


async def _change_member(session: AsyncSession, wish: Wish) -> Changed:
    wish = wish._replace(idempotency_key=dispatch.key_of_member(wish.idempotency_key, wish.device))
    try:
        return Changed(wish.device, await change(session, wish), [])
    except (BadContent, TooManyRequests) as error:
        return Changed(wish.device, None, error.errors or [{"path": "desired", "reason": error.detail}])


async def restore(session: AsyncSession, gateway: str) -> None:
    """Send a gateway whose stream is new all that it may have lost: what is known of its devices, and what waits."""
    known = list(await session.scalars(select(Twin.device).order_by(Twin.device)))
    for start in range(0, len(known), AT_ONCE):
        own = await registry.of_same_site(session, gateway, set(known[start : start + AT_ONCE]))
        for device in sorted(own):
            row = await session.get_one(Twin, device)
            waiting = await _waiting(session, device)
            for patch in waiting:
                await _queue(session, gateway, row, patch)
            if not waiting:
                await _queue(session, gateway, row, None)


async def hear_desired(session: AsyncSession, record: records.Desired) -> bool:
    """Take a gateway's word on what is wanted, and on a patch; whether it says what no other one has said.

    Each gateway of a site answers a patch of the cloud that it got; what came of it is the same (ADR 67).
    """
    row = await _row(session, record.device)
    is_news = record.version > row.version
    if record.version >= row.version:
        row.version, row.desired = record.version, record.values
    patch = None if record.patch is None else await session.get(TwinPatch, record.patch)
    if patch is None:
        return is_news or record.patch is not None
    if patch.device != record.device or patch.status != PENDING:
        return is_news
    patch.status, patch.error = (APPLIED, None) if record.error is None else (REFUSED, record.error[:4096])
    return True


async def hear_reported(session: AsyncSession, record: records.Reported) -> None:
    """Take a device's report; one that was overtaken over another gateway says nothing any more."""
    row = await _row(session, record.device)
    if row.reported_at is not None and record.ts < row.reported_at:
        return
    had = twin.Reported(row.reported_version, row.reported, row.errors, row.goes_on)
    told = twin.Reported(record.version, record.values, record.errors, record.more)
    row.reported_version, row.reported, row.errors, row.goes_on = twin.hear(had, told)
    row.reported_at = record.ts


async def reported(session: AsyncSession, device: str) -> dict[str, Any]:
    """Return what a device has told of its twin."""
    return dict((await _row(session, device)).reported)


async def _row(session: AsyncSession, device: str) -> Twin:
    await session.execute(insert(session, Twin).values(_defaults(device)).on_conflict_do_nothing())
    return await session.get_one(Twin, device)


def _defaults(device: str) -> dict[str, Any]:
    counts = dict.fromkeys(("patches", "version", "reported_version"), 0)
    return {"device": device, **counts, "desired": {}, "reported": {}, "errors": {}, "goes_on": False}


def _nothing(device: str) -> Twin:
    return Twin(**_defaults(device))


async def _waiting(session: AsyncSession, device: str) -> list[TwinPatch]:
    query = select(TwinPatch).filter_by(device=device, status=PENDING).order_by(TwinPatch.number)
    return list(await session.scalars(query))


async def _queue(session: AsyncSession, gateway: str, row: Twin, patch: TwinPatch | None) -> None:
    told = down.TwinPatch(row.device, row.version, row.desired)
    if patch is not None:
        told.id, told.changes = patch.id, patch.changes
    await dispatch.queue(session, gateway, down.TWIN, down.encode(told))


def _hold_same(before: TwinPatch, wish: Wish) -> None:
    if (before.device, before.changes) != (wish.device, wish.changes):
        reason = "was used for another request: draw a new one for each"
        raise BadContent("The key stands for another patch.", [{"path": "Idempotency-Key", "reason": reason}])


def _checked(row: Twin, waiting: list[TwinPatch], changes: dict[str, Any]) -> dict[str, Any]:
    """Return what would be desired after all that waits; the owner decides again.

    Raises TooManyRequests, and BadContent for what no device would take.
    """
    if len(waiting) >= twin.IDS:
        raise TooManyRequests(f"{len(waiting)} patches wait for the gateway already: wait until it is back")
    desired, refused = twin.apply(_expected(row, waiting), Patch("", changes))
    if refused is not None:
        raise BadContent("No device would take this.", [{"path": "desired", "reason": refused}])
    return desired.values


def _expected(row: Twin, waiting: list[TwinPatch]) -> Desired:
    """Return what will be desired if all that waits is applied."""
    desired = Desired(row.version, row.desired)
    for patch in waiting:
        desired, _ = twin.apply(desired, Patch(patch.id, patch.changes))
    return desired


def _etag(row: Twin, waiting: list[TwinPatch]) -> str:
    """Return the version that is known; while patches wait, with the newest one's number and what will be desired."""
    if not waiting:
        return f'"{row.version}"'
    return f'"{row.version}+{waiting[-1].number}-{_digest(_expected(row, waiting))}"'


def _is_meant(etag: str | None, row: Twin, waiting: list[TwinPatch]) -> bool:
    """Whether a caller who has seen an ETag means the twin as it is.

    Who has seen patches wait, and what will be desired, has seen the same once they are decided that way.
    """
    if etag is None or etag == "*":
        return True
    return etag == _etag(row, waiting) or etag.endswith(f'-{_digest(_expected(row, waiting))}"')


def _digest(desired: Desired) -> str:
    told = json.dumps(desired.values, sort_keys=True).encode()
    return hashlib.blake2b(told, digest_size=8).hexdigest()


async def _shown(session: AsyncSession, row: Twin) -> dict[str, Any]:
    waiting = await _waiting(session, row.device)
    pending = [{"id": one.id, "desired": one.changes, "created": iso(one.created)} for one in waiting]
    names = ("device", "version", "desired", "reported_version", "reported", "errors")
    return {
        **{name: getattr(row, name) for name in names},
        "reported_at": None if row.reported_at is None else from_ms(row.reported_at),
        "delta": twin.delta(row.desired, row.reported),
        "pending": pending,
        "etag": _etag(row, waiting),
    }
