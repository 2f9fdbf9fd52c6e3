"""Takes what the adapters receive in groups, commits, and only then answers the devices. (T4, T5)"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from functools import lru_cache
from typing import Any

import structlog

from fieldloom_contract import messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.adapters.base import BUSY, TAKEN, Message, Outcome
from fieldloom_gateway.adapters.kept import Kept
from fieldloom_gateway.ingest.patience import Patience
from fieldloom_gateway.ingest.store import Ack, Arrival, Store, Taken
from fieldloom_runtime.records import Discovered

log = structlog.get_logger()

GROUP = 500
ADDRESSES = 65_536  # topics that are taken apart once
DISK_PAUSE_S = 1.0


_address = lru_cache(ADDRESSES)(topics.parse_device)


class Ingest:
    """The way of a record from the adapters to the disk. `now` gives Unix ms; `on_new` says: the outbox has grown.

    `on_request` gets what devices ask for of a release. A device is answered over the adapter that heard it last, over
    the first one, its gateway's own broker, if none has.
    """

    def __init__(
        self,
        adapters: Sequence[Kept],
        store: Store,
        writer: Executor,
        now: Callable[[], int],
        on_new: Callable[[], None],
        on_request: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._adapters = adapters
        self._broker = adapters[0]
        self._routes: dict[str, Kept] = {}
        """Devices that were heard over another adapter than the broker's."""
        self._store = store
        self._writer = writer
        self._now = now
        self._on_new = on_new
        self._on_request = on_request
        self._patience = Patience()
        self._busy = 0
        """How many groups are being taken."""
        self._listeners: list[Callable[[Sequence[Message]], None]] = []
        self._noting: list[dict[str, Discovered]] = []
        """Where those are noted who turn up now, by their ids, for whoever has asked."""
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Take groups of each adapter, at its own pace, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for adapter in self._adapters:
                tasks.create_task(self._serve(adapter), name=f"adapter-{adapter.name}")

    def listen(self, tell: Callable[[Sequence[Message]], None]) -> None:
        """Have a callback told of all messages that were taken, after their commit; it must not raise."""
        self._listeners.append(tell)

    async def greet_all(self) -> None:
        """Ask who is there: at intervals, and after a start of this gateway or of its broker nobody can know."""
        await self._in_store(self._store.begin_finding)
        request = messages.discovery_request(f"ask-{self._now()}", self._now())
        for adapter in self._adapters:
            await adapter.publish(topics.DISCOVERY_REQUEST, request)

    async def discover(self, seconds: float) -> list[Discovered]:
        """Ask who is there, and return who answers, or is heard where nobody can be asked, within so long. (C8)"""
        found: dict[str, Discovered] = {}
        self._noting.append(found)
        try:
            await self.greet_all()
            await asyncio.sleep(seconds)
        finally:
            self._noting = [other for other in self._noting if other is not found]
        return [found[device] for device in sorted(found)]

    async def send(self, device: str, verb: str, payload: bytes) -> None:
        """Send to a device that may not be there; what matters is sent again when it comes online."""
        await self._routes.get(device, self._broker).publish(topics.device(device, verb), payload)

    async def waiting(self, device: str) -> list[bytes]:
        """Return the payloads of the commands that wait for a device."""
        return list(await self._in_store(self._store.down.commands, device))

    async def tell_time(self) -> None:
        """Send the time to all devices that are online: a board has no clock of its own."""
        for device in await self._in_store(self._store.presence.online):
            await self.send(device, topics.TIME, messages.time(self._now()))

    async def tell_twins(self, devices: Collection[str]) -> None:
        """Send devices what is wanted of them, if they were heard here and have an older version."""
        for behind in await self._in_store(self._store.twins.behind, devices):
            await self.send(behind.device, topics.DESIRED, behind.payload)

    async def repeat(self) -> None:
        """Send again what waits for devices that are online; they execute an id once, and take a version once."""
        for behind in await self._in_store(self._store.twins.behind):
            if self._patience.is_over(behind.device, behind.version, self._now()):
                await self.send(behind.device, topics.DESIRED, behind.payload)
        for device in await self._in_store(self._store.presence.online):
            for command in await self._in_store(self._store.down.commands, device):
                await self.send(device, topics.COMMAND, command)

    async def _in_store(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call, *arguments)

    async def _serve(self, adapter: Kept) -> None:
        async with aclosing(adapter.groups(GROUP)) as groups:
            async for group in groups:
                self._busy += 1
                await self._take(adapter, group)
                self._busy -= 1
                asyncio.get_running_loop().call_soon(self._write_back)  # after the next group, if it is there

    def _write_back(self) -> None:
        """Have SQLite's log written back while nobody waits for the disk; else SQLite does it in a commit."""
        if not self._busy and self._store.has_to_write_back:
            self._writer.submit(self._store.write_back)

    async def _take(self, adapter: Kept, group: list[Message]) -> None:
        arrivals = [self._arrival(adapter.name, place, message) for place, message in enumerate(group)]
        self._remember(adapter, arrivals)
        try:
            taken = await self._in_store(self._store.take, arrivals, self._now())
        except sqlite3.Error as error:
            # Nothing of the group was taken and nothing is acknowledged: its senders send it again.
            self.counts["disk_errors"] += 1
            log.error("disk_refused_group", error=str(error), messages=len(group))  # noqa: TRY400
            _settle(group, dict.fromkeys(range(len(group)), BUSY))
            await asyncio.sleep(DISK_PAUSE_S)
            return
        _settle(group, taken.outcomes)
        self.counts.update(taken.counts)
        await self._answer(taken)  # before others have something to do: what a rule commands is waited for
        self._on_new()
        for found in taken.found:
            for noted in self._noting:
                noted[found.device] = found
        if self._listeners:
            heard = [message for place, message in enumerate(group) if place not in taken.outcomes]
            for tell in self._listeners:
                tell(heard)

    def _remember(self, adapter: Kept, arrivals: list[Arrival]) -> None:
        """Take note over which adapter devices are heard; the broker's are those of whom nothing is noted."""
        if adapter is self._broker:
            if self._routes:
                for arrival in arrivals:
                    self._routes.pop(arrival.device, None)
            return
        if len(self._routes) > ADDRESSES:
            self._routes.clear()
        self._routes.update((arrival.device, adapter) for arrival in arrivals)

    def _arrival(self, adapter: str, place: int, message: Message) -> Arrival:
        topic, payload, _, fault, key, slot = message
        try:
            device, verb = _address(topic)
        except Rejected:
            # Of no device that can be; the store keeps it with the dead letters.
            self.counts["unknown_topics"] += 1
            device = verb = ""
        return Arrival(device, verb, payload, topic, place, fault, key, slot, adapter)

    async def _answer(self, taken: Taken) -> None:
        for answer in taken.answers:
            await self.send(*answer)
        newest: dict[tuple[str, int | None, int | None], Ack] = {}
        for ack in taken.acks:
            newest[(ack.device, ack.boot, ack.refused)] = ack
        for ack in newest.values():
            payload = messages.ack(ack.boot, ack.seq, ack.error, ack.refused)
            await self.send(ack.device, topics.ACK, payload)
        for device, request in taken.requests:
            self._on_request(device, request)
        for device in sorted(taken.greeted):
            await self._greet(device)

    async def _greet(self, device: str) -> None:
        ack = await self._in_store(self._store.acknowledgement, device)
        commands = await self._in_store(self._store.down.commands, device)
        await self.send(device, topics.TIME, messages.time(self._now()))
        if ack is not None:
            await self.send(device, topics.ACK, messages.ack(ack.boot, ack.seq))
        await self.tell_twins([device])
        for command in commands:
            await self.send(device, topics.COMMAND, command)


def _settle(group: list[Message], outcomes: dict[int, Outcome]) -> None:
    """Say what became of each message that asks; of one that is not named all was taken."""
    for place, message in enumerate(group):
        if message.settle is not None:
            message.settle(outcomes.get(place, TAKEN))
