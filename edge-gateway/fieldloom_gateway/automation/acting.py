"""Has effects of rules and workflows performed, and keeps what became of them, on the gateway's disk. (E3)"""

import sqlite3
from collections.abc import Callable, Mapping

import structlog

from fieldloom_gateway.automation.effects import Again, Due, Effects, Outcome
from fieldloom_gateway.automation.performing import Handler, Performer
from fieldloom_gateway.ingest.disk import Disk

log = structlog.get_logger()


class Acting:
    """`handlers` by kind of effect; `now` gives Unix ms."""

    def __init__(self, effects: Effects, handlers: Mapping[str, Handler], disk: Disk, now: Callable[[], int]) -> None:
        self._effects = effects
        self._handlers = handlers
        self._disk = disk
        self._now = now
        self._performer = Performer(handlers, self._due, self._settle)
        self.run = self._performer.run
        disk.attend(self._look)

    def _look(self) -> None:
        if self._effects.has_more:
            self._performer.wake()

    async def _due(self, limit: int) -> list[Due]:
        self._effects.has_more = False
        due: list[Due] = await self._disk.in_store(self._effects.due, self._handlers, self._now(), limit)
        return due

    async def _settle(self, one: Due, outcome: Outcome | Again) -> bool:
        take = self._effects.postpone if isinstance(outcome, Again) else self._effects.settle
        try:
            await self._disk.commit(take, one, outcome, self._now())
        except sqlite3.Error as error:
            log.error("disk_refused_outcome", effect=one.id, error=str(error))  # noqa: TRY400
            return False
        self._disk.tell()
        return True
