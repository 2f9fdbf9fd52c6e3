"""Messages on topics of a site on their way to workflows of the cloud: events of the gateway that heard them. (W4)"""

from typing import Any

import msgspec
from msgspec import Struct

from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_UP_BYTES
from fieldloom_contract.plain import plain
from fieldloom_engine.rules import Event
from fieldloom_engine.rules.firing import identity
from fieldloom_engine.workflows.triggers import MESSAGE
from fieldloom_runtime import records
from fieldloom_runtime.records import Name

HEARD, LISTENING = "workflow.message", "workflow.listening"
"""What a gateway tells: a message, and to which topic filters it listens for the cloud."""


class _Heard(Struct):
    id: Name
    """The same for a message that comes twice, if its sender has given it an id."""
    topic: str
    payload: dict[str, Any]


def record_of(event: Event, gateway: str) -> records.Event:
    """Return the record of a message that a gateway has heard. Raises Rejected for one that no cloud would keep."""
    data = {"id": event.id, "topic": event.metadata["topic"], "payload": event.data}
    record = records.Event(gateway, event.ts, event.ts, type=HEARD, data=plain(data, "payload"))
    if (size := len(records.encode(record))) > MAX_UP_BYTES:
        raise Rejected("payload", f"has {size} bytes with its topic, at most {MAX_UP_BYTES} go up")
    return record


def event_of(record: records.Event, site: str) -> Event:
    """Return the event that a message is for workflows. Raises msgspec.ValidationError.

    What has the same topic and id at two sites is two messages: `metadata.site` tells them apart.
    """
    told = msgspec.convert(record.data, _Heard)
    id_ = identity(MESSAGE, site, told.id)
    return Event(id_, MESSAGE, "", record.ts, told.payload, {"topic": told.topic, "site": site})
