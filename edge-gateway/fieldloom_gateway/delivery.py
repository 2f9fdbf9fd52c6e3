"""Brings devices what is for them: from the cloud, from the other gateways, and from what was committed here."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fieldloom_contract import messages, topics
from fieldloom_gateway.ingest.disk import Disk
from fieldloom_gateway.ingest.judge import Downward
from fieldloom_gateway.ingest.service import Ingest
from fieldloom_gateway.releases.service import Releases


class Delivery:
    """`news` are messages for devices that the cloud has sent, after their commit."""

    def __init__(self, disk: Disk, ingest: Ingest, releases: Releases, news: asyncio.Queue[Downward]) -> None:
        self._disk = disk
        self._ingest = ingest
        self._releases = releases
        self._news = news

    async def run(self) -> None:
        """Deliver the cloud's news until cancelled."""
        while True:
            await self._deliver(*await self._news.get())

    async def act_on(self, fresh: Sequence[Downward]) -> None:
        """Deliver what another gateway has told, and have others look who do something with what was committed."""
        self._disk.tell()
        for message in fresh:
            await self._deliver(*message)

    async def committed(self) -> None:
        """Tell devices, and others who do something with it, of what was committed beside the ingest."""
        self._disk.tell()
        await self.send_waiting()

    async def send_waiting(self) -> None:
        """Send devices what the store has for them from its last transactions."""
        for message in await self._disk.in_store(self._disk.store.messages):
            await self._ingest.send(*message)

    async def _deliver(self, device: str, verb: str, payload: bytes) -> None:
        if verb == topics.COMMAND:
            self._expect_release(messages.parse_command(payload))
        await self._ingest.send(device, verb, payload)

    def _expect_release(self, command: dict[str, Any]) -> None:
        if command["type"] == "update":
            self._releases.expect(command["parameters"].get("release"))
