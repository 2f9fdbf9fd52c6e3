"""What rules of the cloud ask for outside of it: people told, web servers called. (E3)"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from fieldloom_cloud.automation.performing import Asked, NotPerformed
from fieldloom_runtime import outgoing

CallOut = Callable[[Asked], Awaitable[Any]]
"""Performs an effect outside of this cloud and returns its result. Raises NotPerformed."""


def calls(data: Path) -> Mapping[str, CallOut]:
    """Return what performs each kind, by the two files of a data folder. Raises StartFailed when one has a fault."""
    handlers = outgoing.Outgoing(data)

    async def call(effect: Asked) -> Any:
        try:
            return await handlers.perform(effect)
        except outgoing.NotPerformed as error:
            after_ms = round((error.after_s or 0) * 1000)
            raise NotPerformed(str(error), is_final=not error.again, after_ms=after_ms) from None

    return dict.fromkeys(outgoing.KINDS, call)
