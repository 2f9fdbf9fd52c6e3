"""Hears what is said on topics of the site, and keeps it for the workflows that wait for it. (W4)"""

import asyncio
import secrets
import sqlite3
import ssl
from collections.abc import Callable

import structlog

from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.automation.workflows.messages import Listener, SiteMessage
from fieldloom_gateway.ingest.disk import Disk

log = structlog.get_logger()

TRY_EVERY_S = 1.0


class Hearing:
    """At the broker at `address`, by a name that is let in there; `now` gives Unix ms."""

    def __init__(
        self,
        address: tuple[str, int],
        name: str,
        tls: ssl.SSLContext,
        automation: Automation,
        disk: Disk,
        now: Callable[[], int],
    ) -> None:
        self._automation = automation
        self._disk = disk
        self._now = now
        self.run = Listener(address, name, tls, automation.workflows, self._keep).run

    async def _keep(self, topic: str, payload: bytes) -> None:
        """Keep a message on a topic of the site, as soon as there is room for it: before, it is not acknowledged."""
        message = SiteMessage(topic, payload, secrets.token_hex(16))
        while not await self._take(message):  # noqa: ASYNC110 - nobody tells that there is room
            await asyncio.sleep(TRY_EVERY_S)
        self._disk.tell()

    async def _take(self, message: SiteMessage) -> bool:
        try:
            return bool(await self._disk.commit(self._automation.take_message, message, self._now()))
        except sqlite3.Error as error:
            log.error("disk_refused_message", topic=message.topic, error=str(error))  # noqa: TRY400
            return False
