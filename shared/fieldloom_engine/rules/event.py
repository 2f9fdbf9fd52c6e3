"""What rules judge. (E1)"""

from collections.abc import Mapping
from typing import Any, NamedTuple

TELEMETRY = "device.telemetry"
MADE_BY_RULES = ("rule.", "alarm.", "workflow.", "actuator.")
"""How the types of those events begin that follow from rules and workflows: only a rule that names such a type sees
them, so that none goes round in a circle unasked."""


class Event(NamedTuple):
    """Something that happened; nothing in it is changed in place.

    A record of telemetry is an event of type `device.telemetry` whose `data` are its values and whose `source` is the
    device.
    """

    id: str
    """The same whenever and wherever the event is seen: what follows from it gets its ids from it."""
    type: str
    source: str
    """Who sent it, as it was authenticated."""
    ts: int
    """When it happened, by its source's clock: Unix ms."""
    data: Mapping[str, Any]
    metadata: Mapping[str, Any] = {}

    @property
    def key(self) -> tuple[int, str]:
        """Its place among the events of its source."""
        return self.ts, self.id
