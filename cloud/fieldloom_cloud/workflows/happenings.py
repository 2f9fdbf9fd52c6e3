"""What happens to instances, kept in the transaction in which it happens, until a step takes it. (W6)

Whoever tells something needs no lock on the instance, and a step finds all that was committed before it began.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import table_of
from fieldloom_cloud.workflows.models import HappeningRow
from fieldloom_engine.rules import Event
from fieldloom_engine.workflows import Answered, Happening, Occurred, Replayed, Signalled, Terminated

_KINDS: dict[str, type] = {kind.__name__: kind for kind in (Answered, Occurred, Replayed, Signalled, Terminated)}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, list[Any]]).decode


class Told(NamedTuple):
    """Something that happens to an instance."""

    instance: str
    happening: Happening


async def tell(session: AsyncSession, told: Iterable[Told]) -> None:
    """Keep what happens to instances."""
    rows = [{"instance": one.instance, "told": encode(one.happening)} for one in told]
    if rows:
        await session.execute(insert(table_of(HappeningRow)), rows)


async def of_instances(session: AsyncSession, instances: list[str]) -> dict[str, list[tuple[int, Happening]]]:
    """Return by instance what has happened, in order, each with its number."""
    found: dict[str, list[tuple[int, Happening]]] = {}
    table = table_of(HappeningRow).c
    query = select(table.number, table.instance, table.told).where(table.instance.in_(instances))
    for number, instance, told in await session.execute(query.order_by(table.number)):
        found.setdefault(instance, []).append((number, decode(told)))
    return found


async def forget(session: AsyncSession, numbers: list[int]) -> None:
    """Drop what steps have taken."""
    if numbers:
        await session.execute(delete(table_of(HappeningRow)).where(HappeningRow.number.in_(numbers)))


def encode(happening: Happening) -> bytes:
    """Return a happening as bytes."""
    return _encode((type(happening).__name__, list(happening)))


def decode(told: bytes) -> Happening:
    """Return the happening of bytes that `encode` gave."""
    name, fields = _decode(told)
    if name in {"Occurred", "Signalled"}:
        fields = [Event(*fields[0])]
    happening: Happening = _KINDS[name](*fields)
    return happening
