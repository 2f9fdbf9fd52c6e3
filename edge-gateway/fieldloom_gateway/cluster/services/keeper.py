"""Keeps what is told of a gateway's own services true: runs their checks, and tells what changes. (D5)"""

import asyncio
from contextlib import suppress
from random import Random

import msgspec
import structlog

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.consensus.port import NoLeader, Unknown
from fieldloom_gateway.cluster.membership.records import alive_key
from fieldloom_gateway.cluster.services import checks
from fieldloom_gateway.cluster.services.definition import (
    KEPT,
    Check,
    Instance,
    Service,
    Status,
    decode_instance,
    decode_service,
    encode,
    fresh,
    live_key,
)
from fieldloom_gateway.cluster.services.health import Health, together
from fieldloom_gateway.cluster.state.commands import Compare, Done, Set
from fieldloom_gateway.cluster.state.entries import Entry
from fieldloom_gateway.cluster.state.store import Store

log = structlog.get_logger()

LOOK_S = 1.0
"""How often what is told is compared with what is so, though nothing says that it has changed."""


class _Kept:
    """A service that this gateway vouches for, with its checks at work."""

    def __init__(self, entry: Entry, service: Service, status: Status) -> None:
        self.key = entry.key
        self.modified = entry.modified
        self.service = service
        self.healths = [Health(status)] * len(service.checks)
        self.tasks: list[asyncio.Task[None]] = []


class Keeper:
    """The part of a gateway that vouches for its services while `run` runs."""

    def __init__(self, store: Store, rng: Random) -> None:
        self._store = store
        self._alive = alive_key(store.name)
        self._rng = rng
        self._prefix = f"{KEPT}{store.name}/"
        self._kept: dict[str, _Kept] = {}
        self._news = asyncio.Event()
        self._displaced: set[str] = set()
        self.checks_done = 0

    async def run(self) -> None:
        """Check and tell, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._follow(tasks)
                await self._tell_all()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._news.wait()
                self._news.clear()

    def _follow(self, tasks: asyncio.TaskGroup) -> None:
        """Begin the checks of what is registered, and end those of what is not."""
        registered = {entry.key: entry for entry in self._store.below(self._prefix)}
        for kept in list(self._kept.values()):
            entry = registered.get(kept.key)
            if entry is None or entry.modified != kept.modified:
                del self._kept[kept.key]
                for task in kept.tasks:
                    task.cancel()
        for key in registered.keys() - self._kept.keys():
            kept = self._kept[key] = self._go_on(registered[key])
            for at, check in enumerate(kept.service.checks):
                kept.tasks.append(tasks.create_task(self._check(kept, at, check), name=f"check-{key}-{at}"))

    def _go_on(self, entry: Entry) -> _Kept:
        """Return what was registered; what was healthy before a restart is so until its checks say otherwise."""
        service = decode_service(entry.value)
        found = self._store.peek(live_key(service.name, service.id))
        told = fresh(service, self._store.name) if found is None else decode_instance(found.value)
        is_known = told.service == service and told.member == self._store.name and told.is_healthy
        return _Kept(entry, service, "healthy" if is_known else "unknown")

    async def _check(self, kept: _Kept, at: int, check: Check) -> None:
        await asyncio.sleep(self._rng.uniform(0, min(check.interval_s, LOOK_S)))  # not all at once after a start
        while True:
            before = kept.healths[at]
            kept.healths[at] = before.after(await checks.perform(check, kept.service), check)
            self.checks_done += 1
            if kept.healths[at] != before:
                self._news.set()
            await asyncio.sleep(check.interval_s)

    async def _tell_all(self) -> None:
        if self._store.peek(self._alive) is None:
            return  # once this gateway is active again
        for kept in list(self._kept.values()):
            with suppress(NoLeader, Unknown, Rejected):  # at the next look
                await self._tell(kept)

    async def _tell(self, kept: _Kept) -> None:
        """Write what is so of an instance, if something else is told."""
        key = live_key(kept.service.name, kept.service.id)
        found = self._store.peek(key)
        told = fresh(kept.service, self._store.name) if found is None else decode_instance(found.value)
        if told.member != self._store.name:
            self._yield_to(told)
            return
        self._displaced.discard(key)
        status, fault = together(kept.healths)
        true = msgspec.structs.replace(told, service=kept.service, status=status, fault=fault)
        if found is not None and told == true:
            return
        compares = (
            Compare(kept.key, "modified", kept.modified),  # it may be deregistered meanwhile
            Compare(key, "modified", found.modified if found else 0),
        )
        outcome = await self._store.transaction(compares, (Set(key, encode(true), 0, self._alive),))
        if isinstance(outcome, Done):
            log.info("service_told", service=key, status=status, fault=fault)

    def _yield_to(self, other: Instance) -> None:
        """Say once that another gateway vouches for a service of this one, which stays so while it does."""
        key = live_key(other.service.name, other.service.id)
        if key not in self._displaced:
            self._displaced.add(key)
            log.warning("service_displaced", service=key, by=other.member)
