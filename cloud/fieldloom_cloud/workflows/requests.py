"""What people and workflows ask of instances at gateways: it goes down, and an answer comes some time. (W7)"""

import secrets
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import from_ms
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.workflows.models import RequestRow
from fieldloom_engine.workflows import Happening, Replayed, Signalled, Terminated
from fieldloom_runtime import down

MAX_SHOWN = 20


async def ask(session: AsyncSession, gateway: str, instance: str, happening: Happening, now: int) -> str:
    """Have something happen to an instance at a gateway; return the request, by which `workflow.answered` tells."""
    name = secrets.token_hex(16)
    request: down.Request
    match happening:
        case Terminated(reason, undo):
            kind, about, request = down.TERMINATE, reason, down.Terminate(name, instance, reason, undo)
        case Signalled(event):
            kind, about, request = down.SIGNAL, event.type, down.Signal(name, instance, event.type, dict(event.data))
        case Replayed(state, variables):
            kind, about, request = down.RETRY, state, down.Retry(name, instance, state, dict(variables))
        case _:
            raise TypeError(f"{happening} is nothing that people ask for")
    await dispatch.queue(session, gateway, kind, down.encode(request))
    session.add(RequestRow(id=name, instance=instance, gateway=gateway, kind=kind, about=about, asked=now))
    return name


async def answer(session: AsyncSession, request: str, instance: str, refused: str | None, now: int) -> None:
    """Take what a gateway tells of a request, the first time."""
    of_it = (RequestRow.id == request, RequestRow.instance == instance, RequestRow.answered.is_(None))
    await session.execute(update(RequestRow).where(*of_it).values(answered=now, refused=refused))


async def of_instance(session: AsyncSession, instance: str) -> list[dict[str, Any]]:
    """Return the newest requests of an instance, the last first, with what came of them."""
    query = select(RequestRow).where(RequestRow.instance == instance)
    rows = await session.scalars(query.order_by(RequestRow.asked.desc(), RequestRow.id).limit(MAX_SHOWN))
    return [_shown(row) for row in rows]


def _shown(row: RequestRow) -> dict[str, Any]:
    told = {name: getattr(row, name) for name in ("id", "gateway", "kind", "about", "refused")}
    status = "sent" if row.answered is None else "done" if row.refused is None else "refused"
    moments = {"asked": from_ms(row.asked), "answered": None if row.answered is None else from_ms(row.answered)}
    return {**told, **moments, "status": status}
