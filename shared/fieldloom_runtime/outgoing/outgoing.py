"""Performs effects by the handler of their kind."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from fieldloom_runtime.outgoing import configuration
from fieldloom_runtime.outgoing.calls import Calls
from fieldloom_runtime.outgoing.effect import Effect
from fieldloom_runtime.outgoing.notifications import Notifications

KINDS = ("http", "notification")

Perform = Callable[[Effect], Awaitable[dict[str, Any]]]


class Outgoing:
    """The handlers of a tier. What its two files say is read for each call, so a change needs no restart."""

    def __init__(self, data: Path) -> None:
        """Perform by the files of a data folder. Raises StartFailed when one of them has a fault."""
        configuration.prepare(data)
        self._handlers: Mapping[str, Perform] = {
            "http": Calls(data).perform,
            "notification": Notifications(data).perform,
        }

    async def perform(self, effect: Effect) -> dict[str, Any]:
        """Perform an effect of one of KINDS, and return its result as JSON. Raises NotPerformed."""
        return await self._handlers[effect.kind](effect)
