"""An adapter that is started again whenever it fails, for ever, and holds up no other one. (C1)"""

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any

import structlog
from starlette.applications import Starlette

from fieldloom_contract import topics
from fieldloom_gateway.adapters.base import Message, ProtocolAdapter

log = structlog.get_logger()

BACK_OFF_S = 0.5
BACK_OFF_MAX_S = 30.0
CLOSE_TIMEOUT_S = 5.0

# Verb by verb: a wildcard would bring back what this gateway itself sends.
TOPICS = [topics.device("+", verb) for verb in topics.DEVICE_WRITES]


class Kept:
    """Gives what an adapter receives in groups, over all of its lives; `error` says why it does not run now."""

    def __init__(self, name: str, protocol: str, adapter: ProtocolAdapter) -> None:
        self.name = name
        self.protocol = protocol
        self._adapter = adapter
        self._restarts = 0
        self.error: str | None = None

    @property
    def is_connected(self) -> bool:
        """Whether devices can be heard now."""
        return self._adapter.is_connected

    @property
    def app(self) -> Starlette | None:
        """What an adapter of HTTP serves."""
        return getattr(self._adapter, "app", None)

    async def groups(self, limit: int) -> AsyncGenerator[list[Message], None]:
        """Yield all that has come in whenever it is asked, up to `limit` messages, until cancelled."""
        await self._adapter.subscribe(TOPICS)
        back_off = BACK_OFF_S
        while True:
            try:
                await self._adapter.connect()
                self.error, back_off = None, BACK_OFF_S
                async for message in self._adapter.receive():
                    yield [message, *self._adapter.pending(limit - 1)]
                self._failed("it has ended by itself")
            except Exception as error:  # noqa: BLE001 - whatever an adapter does, of a third party too, the others go on
                self._failed(str(error) or type(error).__name__)
            finally:
                await self._close()
            await asyncio.sleep(back_off * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, hides nothing
            back_off = min(back_off * 2, BACK_OFF_MAX_S)
            self._restarts += 1

    async def publish(self, topic: str, payload: bytes) -> bool:
        """Send, and say whether there was a way."""
        try:
            return await self._adapter.publish(topic, payload)
        except Exception as error:  # noqa: BLE001 - see above
            self._adapter.metrics.errors += 1
            log.warning("adapter_did_not_send", adapter=self.name, topic=topic, error=str(error) or repr(error))
            return False

    def shown(self) -> dict[str, Any]:
        """Return what `status` tells."""
        return {
            "name": self.name,
            "protocol": self.protocol,
            "connected": self._adapter.is_connected,
            "error": self.error,
            "restarts": self._restarts,
            "metrics": asdict(self._adapter.metrics),
        }

    def _failed(self, error: str) -> None:
        self.error = error
        self._adapter.metrics.errors += 1
        log.warning("adapter_failed", adapter=self.name, protocol=self.protocol, error=error)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._adapter.close()
        except Exception as error:  # noqa: BLE001 - see above
            log.warning("adapter_did_not_close", adapter=self.name, error=str(error) or type(error).__name__)
