"""What a gateway does from time to time."""

import asyncio
import sqlite3
from collections.abc import Callable

import structlog

from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.clock import unix_ms
from fieldloom_gateway.delivery import Delivery
from fieldloom_gateway.ingest.disk import Disk
from fieldloom_gateway.ingest.service import Ingest
from fieldloom_gateway.settings import Settings

log = structlog.get_logger()

EXPIRE_EVERY_S = 1.0
REPEAT_EVERY_S = 5.0
TIME_EVERY_S = 3600.0


def leave_none(_command_id: str) -> bool:
    """Return False: a gateway that is alone leaves to nobody to tell that a command has expired."""
    return False


class Clockwork:
    """`leaves` says whether another gateway tells of a command that it has expired. Each method goes on for ever."""

    def __init__(
        self,
        settings: Settings,
        disk: Disk,
        automation: Automation,
        ingest: Ingest,
        delivery: Delivery,
        leaves: Callable[[str], bool] = leave_none,
    ) -> None:
        self._settings = settings
        self._disk = disk
        self._automation = automation
        self._ingest = ingest
        self._delivery = delivery
        self._leaves = leaves

    async def discover(self) -> None:
        """Ask who is there."""
        while True:
            await asyncio.sleep(self._settings.discovery_minutes * 60)
            await self._ingest.greet_all()

    async def tell_time(self) -> None:
        """Tell devices the time: a board has no clock of its own."""
        while True:
            await asyncio.sleep(TIME_EVERY_S)
            await self._ingest.tell_time()

    async def repeat(self) -> None:
        """Send again what waits for devices."""
        while True:
            await asyncio.sleep(REPEAT_EVERY_S)
            await self._ingest.repeat()

    async def expire(self) -> None:
        """Do what is due by the clock: commands that expire, devices that are silent, windows, rules."""
        while True:
            await asyncio.sleep(EXPIRE_EVERY_S)
            try:
                if await self._disk.in_store(self._look_at_the_clock, unix_ms()):
                    self._disk.tell()
                await self._delivery.send_waiting()
            except sqlite3.Error as error:
                # A full disk stops neither the process nor what is due: the next turn does it.
                log.error("disk_refused_what_is_due", error=str(error))  # noqa: TRY400

    def _look_at_the_clock(self, now: int) -> int:
        """Do what is due, and return how many records that made."""
        store, hours, slow_down = self._disk.store, self._settings.outbox_hours, self._settings.slow_down
        made = store.down.expire(now, self._leaves) + store.miss(now) + store.close_idle_windows(now)
        made += self._automation.look_at_the_clock(now)
        made += store.drop_older(now - int(hours * 3_600_000), now) if hours else 0
        return made + (store.ease(slow_down, now) if slow_down else 0)
