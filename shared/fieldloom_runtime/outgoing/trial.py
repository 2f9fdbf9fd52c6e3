"""A notification that no rule asks for: whoever sets a recipient up tries it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fieldloom_runtime.outgoing.notifications import Notifications

MESSAGE = "This is a trial: Fieldloom can reach you."


class _Note(NamedTuple):
    """An effect of no rule."""

    parameters: Mapping[str, Any]
    id: str = "trial"
    kind: str = "notification"


def notify(data: Path, recipient: str, message: str, importance: str) -> list[str]:
    """Tell a recipient something, and return what each channel made of it. Raises NotPerformed when none took it."""
    note = _Note({"recipient": recipient, "message": message, "importance": importance})
    told = asyncio.run(Notifications(data).perform(note))
    return [f"{one['channel']}: {one['error'] or 'taken'}" for one in told["channels"]]
