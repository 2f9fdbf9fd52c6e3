"""The instances of workflows on a gateway's disk and in its site's map: taken up, woken, and what follows. (W8)"""

from collections.abc import Awaitable, Callable

from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.automation.workflows.checkpoints import Checkpoints
from fieldloom_gateway.automation.workflows.runtime import Runtime, acts_for_all, count_nothing
from fieldloom_gateway.automation.workflows.service import Followed
from fieldloom_gateway.cluster.node import Node
from fieldloom_gateway.ingest.disk import Disk


class Instances:
    """`deliver` tells devices and others of what was committed; `now` gives Unix ms."""

    def __init__(
        self,
        automation: Automation,
        disk: Disk,
        node: Node,
        deliver: Callable[[], Awaitable[None]],
        now: Callable[[], int],
    ) -> None:
        self._automation = automation
        self._service = automation.workflows
        self._disk = disk
        self._deliver = deliver
        self._now = now
        partitions = node.partitions
        self._is_alone = partitions is None
        self.runtime = Runtime(
            self._service,
            Checkpoints(node.store),
            acts_for_all if partitions is None else partitions.acts,
            disk.in_store,
            self._follow,
            now,
            count_nothing if partitions is None else partitions.did,
        )
        self.run = self.runtime.run
        self._wakes = [self.runtime.wake]
        disk.attend(self._look)

    def attend(self, wake: Callable[[], None]) -> None:
        """Have somebody else woken too when there is something in the inbox."""
        self._wakes.append(wake)

    async def load(self) -> None:
        """Take the instances that go on here; those of a cluster come with its partitions. Raises LoadFailed."""
        if self._is_alone:
            await self.runtime.load_all()
        else:
            self.runtime.start()

    async def begin(self) -> None:
        """Go on where the last run has ended, and let the cloud know what there is."""
        if self._is_alone:
            while await self.runtime.turn():
                pass
            await self.runtime.forget_versions()
        await self._disk.commit(self._service.place)
        await self._disk.commit(self._service.listening.introduce, self._now())

    def _look(self) -> None:
        if self._service.inbox.has_more:
            self._service.inbox.has_more = False
            for wake in self._wakes:
                wake()

    async def _follow(self, followed: Followed) -> None:
        """Keep what has followed from steps, and tell devices and others who do something with it."""
        await self._disk.commit(self._service.follow, followed, self._automation.effects, self._now())
        await self._deliver()
