"""The map of a gateway that is alone, in memory, and the runtime of twins over it, a turn at a time."""

import asyncio

from fieldloom_engine.twin import Desired
from fieldloom_gateway.twins.deciding import Wanted
from fieldloom_gateway.twins.runtime import Runtime


class OwnMap:
    """What is wanted of devices."""

    gateway = "gw.test"

    def __init__(self):
        self.wanted = {}

    def version(self, device):
        return self.desired(device).version

    def desired(self, device) -> Desired:
        return self.one(device).desired

    def one(self, device):
        return self.wanted.get(device, Wanted())

    async def write(self, device, before, after):
        self.wanted[device] = after._replace(modified=before.modified + 1)


def decide(store, own, now):
    """Have all decided that waits at a store, and return what devices are told then."""
    told = []

    async def commit(call, *arguments):
        return store.commit(call, *arguments)

    async def tell(devices):
        told.extend(store.twins.behind(devices))

    async def turns():
        runtime = Runtime(store.twins, own, commit, tell, lambda: None, lambda: now)
        await runtime.turn()
        runtime.note(own.wanted)
        await runtime.turn()

    asyncio.run(turns())
    return told
