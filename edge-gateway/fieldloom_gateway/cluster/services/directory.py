"""The services of a site: registered, found, selected and followed at any gateway. (D5)"""

from collections.abc import AsyncIterator
from random import Random

import msgspec

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.membership.records import alive_key, record_key
from fieldloom_gateway.cluster.services.definition import (
    LIVE,
    Instance,
    Service,
    check_service,
    decode_instance,
    encode,
    fresh,
    kept_key,
    live_key,
)
from fieldloom_gateway.cluster.services.errors import AlreadyRegistered, NoService, NotActive
from fieldloom_gateway.cluster.services.selection import Selection, Strategy
from fieldloom_gateway.cluster.state.commands import Compare, Delete, Done, Operation, Set
from fieldloom_gateway.cluster.state.errors import Conflict
from fieldloom_gateway.cluster.state.store import Store


class Seen(msgspec.Struct, frozen=True):
    """What became of an instance at an index; `instance` is None where it is gone."""

    index: int
    name: str
    id: str
    instance: Instance | None


class Directory:
    """The services that all gateways of a site know; `rng` is what selecting at random takes."""

    def __init__(self, store: Store, rng: Random) -> None:
        self._store = store
        self._record, self._alive = record_key(store.name), alive_key(store.name)
        self._selection = Selection(rng)

    async def register(self, service: Service) -> None:
        """Vouch for a service: its checks run here, and it is gone with this gateway. Registered again it is replaced.

        Raises Rejected, AlreadyRegistered, NotActive, NoLeader, Unknown.
        """
        check_service(service)
        kept = kept_key(self._store.name, service.name, service.id)
        await self._replace(
            service.name, service.id, (Set(kept, encode(service), 0, self._record),), fresh(service, self._store.name)
        )

    async def deregister(self, name: str, service: str) -> bool:
        """Vouch for a service no more; return whether this gateway did. Raises NoLeader, Unknown."""
        kept = kept_key(self._store.name, name, service)
        if self._store.peek(kept) is None:
            return False
        try:
            await self._replace(name, service, (Delete(kept),), None)
        except AlreadyRegistered:  # meanwhile by another, whose it stays
            await self._store.delete(kept)
        return True

    def discover(self, name: str = "", *, healthy: bool = False) -> list[Instance]:
        """Return the instances of a service, of all services without a name, in the order of names and ids."""
        prefix = f"{LIVE}{name}/" if name else LIVE
        found = (decode_instance(entry.value) for entry in self._store.below(prefix))
        return [one for one in found if one.is_healthy or not healthy]

    def select(self, name: str, strategy: Strategy = "random") -> Instance:
        """Return a healthy instance of a service. Raises NoService."""
        known = self.discover(name)
        healthy = [one for one in known if one.is_healthy]
        if not healthy:
            raise NoService(name, len(known))
        return self._selection.select(name, healthy, strategy)

    async def report_load(self, name: str, service: str, load: float) -> None:
        """Tell how loaded an instance is, in any unit that its like share. Raises Rejected, NoLeader, Unknown."""
        if not load >= 0:
            raise Rejected("load", f"{load} is not 0 or more")
        key = live_key(name, service)
        while (found := self._store.peek(key)) is not None:
            told = msgspec.structs.replace(decode_instance(found.value), load=load)
            try:
                await self._store.set(key, encode(told), holder=found.holder, expected=found.modified)
            except Conflict:
                continue
            return
        raise Rejected("id", f"{name}/{service} is not registered")

    async def follow(self, name: str = "") -> AsyncIterator[Seen]:
        """Give all instances of a service, or of all services, and then each that has changed or gone."""
        async for changes in self._store.follow(f"{LIVE}{name}/" if name else LIVE):
            for change in changes.changes:
                found, service = change.key.removeprefix(LIVE).split("/")
                instance = None if change.entry is None else decode_instance(change.entry.value)
                yield Seen(changes.index, found, service, instance)

    async def _replace(
        self, name: str, service: str, operations: tuple[Operation, ...], instance: Instance | None
    ) -> None:
        """Do some operations together with what becomes of an instance, unless another gateway vouches for it.

        Raises AlreadyRegistered, NotActive where an instance needs this gateway, Rejected, NoLeader, Unknown.
        """
        key = live_key(name, service)
        while True:
            found = self._store.peek(key)
            if found is not None and (other := decode_instance(found.value).member) != self._store.name:
                raise AlreadyRegistered(name, service, other)
            compares = [Compare(key, "modified", found.modified if found else 0)]
            live: Operation = Delete(key)
            if instance is not None:
                compares += self._as_active()
                live = Set(key, encode(instance), 0, self._alive)
            if isinstance(await self._store.transaction(compares, (*operations, live)), Done):
                return

    def _as_active(self) -> list[Compare]:
        """Return what holds for as long as this gateway is active. Raises NotActive."""
        record, alive = self._store.peek(self._record), self._store.peek(self._alive)
        if record is None or alive is None:
            raise NotActive(self._store.name)
        return [Compare(one.key, "created", one.created) for one in (record, alive)]
