"""The guards of the SQL store, read in the transaction that moves them: memory is never ahead of the disk. (T5, ADR 6)

Of two processes that receive the same device over two gateways, the second waits until the first has committed.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import insert
from fieldloom_cloud.guard import Changes, Incoming
from fieldloom_cloud.ingest.models import IngestStream, Received
from fieldloom_contract.batch import DISK_BYTES, STREAM_BYTES
from fieldloom_contract.ranges import Ranges

AT_ONCE = 5000  # lives that one statement names


class Stored(NamedTuple):
    """What is stored of the streams and lives that a group of batches speaks of."""

    positions: dict[bytes, int]
    received: dict[tuple[str, int], Ranges]


async def read(session: AsyncSession, group: Sequence[Incoming]) -> Stored:
    """Return what is stored of what some batches speak of, and keep it from others for the transaction."""
    lives = sorted({(cover[0], cover[1]) for sent in group for cover in sent.covers} | set(_numbered(group)))
    received: dict[tuple[str, int], Ranges] = {}
    remaining = iter(lives)
    while some := list(islice(remaining, AT_ONCE)):
        query = select(Received).where(tuple_(Received.device, Received.boot).in_(some))
        rows = await session.execute(
            query.with_only_columns(Received.device, Received.boot, Received.spans)
            .order_by(Received.device, Received.boot)
            .with_for_update()
        )
        received |= {(row.device, row.boot): Ranges(row.spans) for row in rows}
    return Stored(await _positions(session, {sent.stream for sent in group}), received)


async def write(session: AsyncSession, changes: Changes, stored: Stored) -> None:
    """Write what has changed since it was read.

    A life that somebody else has begun meanwhile is an IntegrityError: its batch comes again.
    """
    positions = [{"stream": stream, "number": number} for stream, number in changes.positions.items()]
    lives = [{"device": device, "boot": boot, "spans": spans} for (device, boot), spans in changes.spans.items()]
    known = [life for life in lives if (life["device"], life["boot"]) in stored.received]
    await _upsert(session, IngestStream, positions)
    await _upsert(session, Received, known)
    if len(known) < len(lives):
        begun = [life for life in lives if (life["device"], life["boot"]) not in stored.received]
        await session.execute(insert(session, Received), begun)


def _numbered(group: Sequence[Incoming]) -> Iterator[tuple[str, int]]:
    for sent in group:
        for record in sent.records:
            if record.boot is not None and record.seq is not None:
                yield record.device, record.boot


async def _positions(session: AsyncSession, streams: set[bytes]) -> dict[bytes, int]:
    """Return the positions of streams, and of one that is not known another of its disk, if there is any."""
    columns = select(IngestStream.stream, IngestStream.number)
    rows = await session.execute(columns.where(IngestStream.stream.in_(streams)))
    found = {row.stream: row.number for row in rows}
    for disk in {stream[:DISK_BYTES] for stream in streams - found.keys()}:
        last = disk + b"\xff" * (STREAM_BYTES - DISK_BYTES)
        row = (await session.execute(columns.where(IngestStream.stream.between(disk, last)).limit(1))).first()
        if row is not None:
            found[row.stream] = row.number
    return found


async def _upsert(session: AsyncSession, table: type[IngestStream | Received], rows: list[dict[str, Any]]) -> None:
    """Write rows anew, one statement for all of them."""
    if rows:
        insertion = insert(session, table)
        keys = [column.name for column in table.__table__.primary_key]
        others = {name: insertion.excluded[name] for name in rows[0] if name not in keys}
        await session.execute(insertion.on_conflict_do_update(index_elements=keys, set_=others), rows)
