"""Hands to the owners of partitions what happens to their instances. (D4, W8, ADR 62)

It stays in this gateway's inbox until the owner has committed the step that has taken it: an owner that dies takes
nothing along, and its successor is told again. Ids make that harmless.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec
import structlog
from msgspec import Struct

from fieldloom_gateway.automation.carrying import Carrier
from fieldloom_gateway.automation.workflows.inbox import Row, Told, encode
from fieldloom_gateway.automation.workflows.runtime import InStore, Runtime, Taken
from fieldloom_gateway.automation.workflows.service import Workflows
from fieldloom_gateway.cluster.calling import NotLetIn, OutOfReach
from fieldloom_gateway.cluster.node import Node
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS

log = structlog.get_logger()

PATH = "/cluster/happenings"
MOST = 100
"""Happenings of one parcel."""
MOST_BYTES = 512 * 1024
"""Of the happenings of one parcel, but for the first: one alone is never longer than a door takes."""
PAUSE_S = 0.25


class Parcel(Struct, array_like=True):
    """What one gateway hands over to another."""

    happenings: list[tuple[int, Told]]
    """Each with its partition."""


class Receipt(Struct, array_like=True):
    """What became of each happening, None for one that was not taken."""

    taken: list[Taken | None]


_encode = msgspec.json.Encoder().encode
_parcel = msgspec.json.Decoder(Parcel)
_receipt = msgspec.json.Decoder(Receipt)


class Ports(NamedTuple):
    """What the rest of a gateway does for it."""

    ask: Callable[[str, str, bytes], Awaitable[bytes]]
    """Asks a member, by name, at a path of its door. Raises OutOfReach, NotLetIn."""
    in_store: InStore
    commit: InStore
    """Calls something in a transaction of its own."""


class Forwarder:
    """One gateway's part, both ways. `owner` says whose a partition is."""

    def __init__(
        self,
        node: Node,
        owner: Callable[[int], str | None],
        service: Workflows,
        runtime: Runtime,
        ports: Ports,
    ) -> None:
        self._node = node
        self._owner = owner
        self._service = service
        self._runtime = runtime
        self._ports = ports
        self._carrier = Carrier("forward", node.others, self.hand_over)

    def wake(self) -> None:
        """Look at once at what is to be handed over."""
        self._carrier.wake()

    async def run(self) -> None:
        """Hand over until cancelled."""
        await self._carrier.run()

    async def take(self, _member: str, body: bytes) -> bytes:
        """Take what a member hands over, and return its receipt. Raises MsgspecError."""
        return _encode(Receipt(await self._runtime.hand(_parcel.decode(body).happenings)))

    async def hand_over(self, member: str) -> bool:
        """Hand a member what is for it; return whether there may be more."""
        rows = await self._rows(member)
        if not rows:
            return False
        body = _encode(Parcel([(row.partition, row.told) for row in rows]))
        try:
            receipt = _receipt.decode(await self._ports.ask(member, PATH, body))
        except (OutOfReach, NotLetIn, msgspec.MsgspecError) as error:
            log.warning("not_handed_over", member=member, happenings=len(rows), reason=str(error))
            await asyncio.sleep(PAUSE_S)
            return False
        taken = {row.number: one for row, one in zip(rows, receipt.taken, strict=False) if one is not None}
        if not taken:
            await asyncio.sleep(PAUSE_S)  # it does not own them yet, or can't commit anything
            return False
        await self._ports.commit(self._service.inbox.done, [*taken])
        await self._node.store.reach(max(one.since for one in taken.values()))
        await self._runtime.answer({number: one.reason for number, one in taken.items()})
        return True

    async def _rows(self, member: str) -> list[Row]:
        """Return what happens in a member's partitions, the oldest first, as much as goes together."""
        owned = [partition for partition in range(PARTITIONS) if self._owner(partition) == member]
        rows: list[Row] = await self._ports.in_store(self._service.waiting, MOST, owned)
        length = 0
        for place, row in enumerate(rows):
            length += len(encode(row.told))
            if place and length > MOST_BYTES:
                return rows[:place]
        return rows
