"""What workflows cost at a gateway: through both of its stores on this disk, each step checkpointed before its effects.

Instances of the cooling workflow go on as fast as the gateway takes it, in bursts as devices make them: each action is
answered in the transaction that would ask for it, and time passes at once. Beside it the rate of writes of the map
alone, on the same disk: one after the other, and as many at once as it takes. Seconds are those of the wall.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.automation.workflows.checkpoints import Checkpoints
from fieldloom_gateway.automation.workflows.inbox import Begins, Outcome
from fieldloom_gateway.automation.workflows.runtime import Runtime, acts_for_all
from fieldloom_gateway.automation.workflows.service import Followed
from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import IN_FLIGHT
from fieldloom_gateway.cluster.state.store import Store as Shared
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime.down import Workflow

BURST = 200
"""Instances that begin together."""
START = 1_790_000_000_000
VALUE = b"x" * 1000
"""About as long as an instance."""


class Gateway:
    """The two stores of a gateway with its workflows; `now` is its clock."""

    def __init__(self, folder: Path, document: dict[str, Any]) -> None:
        self.now, self.entered, self.number = START, 0, 0
        database = open_database(folder)
        self.store = Store(database, 10**9)
        automation = Automation(database, self.store, "gw.bench")
        self.store.attend(automation)
        self.effects, self.service = automation.effects, automation.workflows
        machine = ReplicatedMap()
        self.consensus = LocalConsensus("gw.bench", folder, machine)
        self.shared = Shared(self.consensus, machine)
        checkpoints = Checkpoints(self.shared)
        self.runtime = Runtime(self.service, checkpoints, acts_for_all, self.in_store, self.follow, lambda: self.now)
        told = Workflow(document["id"], "1.0.0", {**document, "placement": "edge"})
        self.store.down.take(b"s" * 16, 1, [told], START)
        self.workflow = document["id"]

    async def in_store(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return call(*arguments)

    async def follow(self, followed: Followed) -> None:
        """Keep what has followed, and have every action answered."""
        self.entered += sum(one.kind == "state" for _, records in followed.history for one in records)
        self.store.commit(self._follow, followed)

    def _follow(self, followed: Followed) -> None:
        self.service.follow(followed._replace(asked=()), self.effects, self.now)
        for instance, effect in followed.asked:
            self.service.put(Outcome(instance.id, effect.id, True, {"value": 75.5}))

    async def burst(self) -> None:
        """Run some instances to their ends."""
        self.store.commit(self._begin)
        while any(not one.is_over for one in self.runtime.all()) or self.service.waiting(1, range(PARTITIONS)):
            while await self.runtime.turn():
                pass
            self.now += 301_000

    def _begin(self) -> None:
        for _ in range(BURST):
            self.number += 1
            told = Begins(
                id=f"i{self.number}",
                workflow=self.workflow,
                version="1.0.0",
                variables={"device_id": f"pump-{self.number}"},
                correlation=None,
                overlap="allow",
            )
            self.service.put(told)


def measure(document: dict[str, Any], seconds: float) -> dict[str, float]:
    """Return transitions/s and writes/s of the map, for so many seconds in all."""
    return asyncio.run(_measure(document, seconds / 3))


async def _measure(document: dict[str, Any], seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(Path(folder), document)
        await gateway.consensus.start()
        await gateway.runtime.load_all()
        began = time.monotonic()
        while (took := time.monotonic() - began) < seconds:
            await gateway.burst()
        figures = {
            "edge_transitions_per_s": gateway.entered / took,
            "edge_writes_per_s": await _writes(gateway.shared, seconds, 1),
            "edge_writes_per_s_at_once": await _writes(gateway.shared, seconds, IN_FLIGHT),
        }
        await gateway.consensus.stop()
    return figures


async def _writes(shared: Shared, seconds: float, at_once: int) -> float:
    written, began = 0, time.monotonic()
    while (took := time.monotonic() - began) < seconds:
        await asyncio.gather(*(shared.set(f"raw/{number}", VALUE) for number in range(at_once)))
        written += at_once
    return written / took
