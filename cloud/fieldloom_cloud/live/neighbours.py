"""What the processes of one cloud tell each other by PostgreSQL's NOTIFY: that something waits, what has changed. (A7)

Nothing relies on it: what waits is in SQL and looked for now and then as well, and who watches is told what was missed.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud.changes import Change
from fieldloom_cloud.database import Database
from fieldloom_cloud.live.hub import Hub

log = structlog.get_logger()

CHANNEL = "fieldloom"
PAYLOAD_BYTES = 7900  # PostgreSQL takes less than 8,000
WAITING = 2000  # changes that may wait to be told
LOOK_EVERY_S = 30.0  # for what a process has left that was killed before it could say so
RETRY_S = 1.0

Bell = Callable[[], None]


class Neighbours:
    """The other processes of this cloud. A bell that is rung here rings there too, and what changes is told there."""

    def __init__(self, database: Database, hub: Hub, bells: Mapping[str, Bell], is_watched: Callable[[], bool]) -> None:
        """Ring `bells`, which are hung up until it runs; `is_watched()` says whether others serve live streams."""
        self._database = database
        self._hub = hub
        self._is_watched = is_watched
        self._id = secrets.token_hex(8)
        self._bells = bells
        self._rung: set[str] = set()
        self._changes: list[Change] = []
        self._missed = 0
        self._more = asyncio.Event()

    def ring(self, name: str) -> None:
        """Ring a bell here and there: something waits, and is committed."""
        self._bells[name]()
        self._rung.add(name)
        self._more.set()

    def tell(self, changes: Iterable[Change]) -> None:
        """Tell changes that are committed to those who watch here and there. Never waits."""
        if not self._is_watched():
            self._hub.tell(changes)
            return
        told = list(changes)
        self._hub.tell(told)
        room = WAITING - len(self._changes)
        self._changes += told[:room]
        self._missed += len(told[room:])
        self._more.set()

    async def run(self) -> None:
        """Tell and listen until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="neighbours-listen")
            tasks.create_task(self._speak(), name="neighbours-speak")

    async def _speak(self) -> NoReturn:
        while True:
            await self._more.wait()
            self._more.clear()
            rung, changes, missed = self._rung, self._changes, self._missed
            self._rung, self._changes, self._missed = set(), [], 0
            told: list[dict[str, Any]] = [{"bell": name} for name in sorted(rung)]
            parts, too_long = _parts(changes)
            told += [{"changes": part} for part in parts]
            if missed + too_long:
                told.append({"missed": missed + too_long})
            try:
                async with self._database.engine.begin() as connection:
                    for one in told:
                        await connection.execute(select(func.pg_notify(CHANNEL, json.dumps({**one, "of": self._id}))))
            except SQLAlchemyError as error:
                log.warning("neighbours_not_told", error=str(error))
                self._missed += len(changes) + missed
                self._rung |= rung
                await asyncio.sleep(RETRY_S)
                self._more.set()

    async def _listen(self) -> NoReturn:
        import psycopg  # noqa: PLC0415 - an extra, which a cloud of one process does without

        url = self._database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    while True:
                        for bell in self._bells.values():  # what was said meanwhile was not heard
                            bell()
                        async for said in connection.notifies(timeout=LOOK_EVERY_S):
                            self._hear(said.payload)
            except psycopg.Error as error:
                log.warning("neighbours_not_heard", error=str(error))
            await asyncio.sleep(RETRY_S)

    def _hear(self, payload: str) -> None:
        said = json.loads(payload)
        if said["of"] == self._id:
            return
        bell = self._bells.get(said.get("bell", ""))
        if bell is not None:
            bell()
        self._hub.tell([Change(*one) for one in said.get("changes", ())])
        self._hub.miss(said.get("missed", 0))


def _parts(changes: Iterable[Change]) -> tuple[list[list[Change]], int]:
    """Return changes in parts that a payload has room for, and how many are too long for any."""
    parts: list[list[Change]] = [[]]
    size, too_long = 0, 0
    for change in changes:
        length = len(json.dumps(change)) + 2
        if length > PAYLOAD_BYTES - 200:
            too_long += 1
            continue
        if size + length > PAYLOAD_BYTES - 200:
            parts.append([])
            size = 0
        parts[-1].append(change)
        size += length
    return [part for part in parts if part], too_long
