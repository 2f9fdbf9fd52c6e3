"""What records of devices start, end and tell of workflows, in the transaction that stores them. (W4, A3)"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import islice

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.ingest.judge import Came, Judge
from fieldloom_cloud.workflows import distribution, edge, happenings, messages, performing, starts
from fieldloom_cloud.workflows.definitions import Definitions
from fieldloom_cloud.workflows.happenings import Told
from fieldloom_cloud.workflows.models import AwaitedRow
from fieldloom_engine.rules import Event
from fieldloom_engine.rules.instant import Read, reader
from fieldloom_engine.workflows import Occurred
from fieldloom_engine.workflows.program import written
from fieldloom_runtime import records
from fieldloom_runtime.judged import event_of
from fieldloom_runtime.records import Expired, Result

KEYS_AT_ONCE = 1000


class Hearing:
    """Judges as the rules do, and lets workflows hear of the same records."""

    def __init__(
        self, rules: Judge, definitions: Definitions, wake: Callable[[], None], now: Callable[[], int]
    ) -> None:
        """`wake` is called after a commit that something may follow from; `now` returns Unix ms."""
        self._rules = rules
        self._definitions = definitions
        self._wake = wake
        self._now = now
        self._has_told = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold for a transaction, its commit too."""
        self._has_told = False
        async with self._rules.turn():
            yield
        if self._has_told:
            self._wake()

    async def judge(self, session: AsyncSession, came: Came) -> None:
        """Judge records by rules; start what they start, and tell those who wait."""
        await self._rules.judge(session, came)
        await self._definitions.refresh(session)
        self._has_told |= await self._hear_of_gateway(session, came)
        events = [event for record in came.records if (event := event_of(record)) is not None and event.source]
        own = [word for word in came.records if isinstance(word, records.Event) and word.device == came.gateway]
        heard = await messages.hear(session, came.gateway, own)
        now = self._now()
        found = await self._definitions.started_by(session, events, now)
        found += await messages.started_by(session, self._definitions, heard, now)
        if found:
            await starts.by_triggers(session, found, now)
            self._has_told = True
        self._has_told |= await occur(session, self._definitions, events + heard)
        if ended := [record.id for record in came.records if isinstance(record, (Result, Expired))]:
            self._has_told |= await performing.hear_commands(session, ended)

    async def restore(self, session: AsyncSession, gateway: str) -> None:
        """Send a gateway whose stream is new what it may have lost."""
        await self._rules.restore(session, gateway)
        await distribution.restore(session, self._definitions, gateway)
        await edge.doubt(session, gateway)

    async def _hear_of_gateway(self, session: AsyncSession, came: Came) -> bool:
        """Take what a gateway says of its workflows and instances, and say whether one here hears of it."""
        told = [record for record in came.records if isinstance(record, records.Event)]
        for word in told:
            if word.device == came.gateway and word.type in distribution.WORDS:
                await distribution.hear(session, came.gateway, word)
        of_instances = [word for word in told if word.type in (edge.RECORDED, edge.ANSWERED)]
        if not of_instances:
            return False
        ends = await edge.hear(session, came.gateway, of_instances, self._now())
        return await performing.hear_ends(session, ends)


async def occur(session: AsyncSession, definitions: Definitions, events: list[Event]) -> bool:
    """Tell instances of the events that they wait for, and say whether any does."""
    waited = [event for event in events if event.type in definitions.awaited]
    if not waited:
        return False
    readers = {one: reader(one) for found in definitions.awaited.values() for one in found if one is not None}
    by_event = [(event, _keys(event, definitions.awaited[event.type], readers)) for event in waited]
    keys = {key for _, found in by_event for key in found.values()}
    waiting: dict[str, list[AwaitedRow]] = {}
    for some in _slices(sorted(keys)):
        of_types = AwaitedRow.type.in_({event.type for event in waited})
        query = select(AwaitedRow).where(of_types, or_(AwaitedRow.key.in_(some), AwaitedRow.key.is_(None)))
        for row in await session.scalars(query):
            waiting.setdefault(row.type, []).append(row)
    told = []
    for event, known in by_event:
        fitting = {
            row.instance for row in waiting.get(event.type, ()) if row.key is None or known.get(row.property) == row.key
        }
        told += [Told(instance, Occurred(event)) for instance in sorted(fitting)]
    await happenings.tell(session, told)
    return bool(told)


def _keys(event: Event, properties: Iterable[str | None], readers: dict[str, Read]) -> dict[str | None, str]:
    """Return by property what an event may correlate by."""
    found: dict[str | None, str] = {}
    for one in properties:
        value = event.source if one is None else readers[one](event.data)
        if value is not None:
            found[one] = written(value)
    return found


def _slices(keys: list[str]) -> Iterator[list[str]]:
    """Give keys, some at a time."""
    rest = iter(keys)
    while some := list(islice(rest, KEYS_AT_ONCE)):
        yield some
