"""Records as the events that rules judge: the same at gateway and cloud, so what follows has the same ids. (E1, E5)"""

import hashlib

import msgspec

from fieldloom_engine.rules import TELEMETRY, Event
from fieldloom_runtime import records

_encode = msgspec.json.Encoder(order="deterministic").encode


ONLINE, ASLEEP, OFFLINE = "device.online", "device.asleep", "device.offline"


def event_of(record: records.Record) -> Event | None:
    """Return what rules see of a record: telemetry, an event, a change of presence; None for any other."""
    kind: str | None
    if isinstance(record, records.Telemetry):
        kind, data = TELEMETRY, record.values
    elif isinstance(record, records.Event):
        kind, data = record.type, record.data
    elif isinstance(record, records.State):
        kind, data = _presence(record), record.facts
    else:
        return None
    return None if kind is None else Event(_identity(record, kind, data), kind, record.device, record.ts, data)


def _presence(record: records.State) -> str | None:
    """Return what has changed, None for a device that tells again that it is there."""
    if record.online:
        return ONLINE if record.began == record.at else None
    return ASLEEP if "wakes_by" in record.facts else OFFLINE


def _identity(record: records.Record, kind: str, data: object) -> str:
    """Return `device/boot/seq`; what nobody has numbered is named by what it says."""
    if record.boot is not None and record.seq is not None:
        return f"{record.device}/{record.boot}/{record.seq}"
    return hashlib.blake2b(_encode([record.device, record.ts, kind, data]), digest_size=16).hexdigest()
