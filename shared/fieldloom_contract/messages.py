"""The messages between device and gateway: builders, and parsers that name field and reason when they refuse."""

from collections import namedtuple

from fieldloom_contract.compat import Any, encode
from fieldloom_contract.desired import parse_desired
from fieldloom_contract.device import (
    command_of,
    frame,
    parse_ack,
    parse_command,
    parse_time,
    state,
)
from fieldloom_contract.discovery import discovery, parse_discovery_request
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import (
    decode,
    dumps,
    fitting,
    is_finite,
    mapping,
    number,
    optional_number,
    read_object,
)
from fieldloom_contract.limits import (
    MAX_BOOT,
    MAX_DEPTH,
    MAX_DOWN_BYTES,
    MAX_METRICS,
    MAX_NAME,
    MAX_SLEEP_MS,
    MAX_UP_BYTES,
)
from fieldloom_contract.plain import check_names, plain, plain_mapping, plain_text
from fieldloom_contract.topics import EVENT, REPORTED, RESULT, TELEMETRY

STATUSES = ("accepted", "succeeded", "failed", "expired", "rejected")
FINAL_STATUSES = ("succeeded", "failed", "expired", "rejected")
# Of a device's state, all optional: ms since its start; the version of its twin; bytes free, least free, outside
# Python's heap and on flash; how often it had to connect again, how many records wait and how many it had to drop; the
# cause of its last reset.
STATE_FIGURES = ("up", "twin", "free", "lowest", "idf_free", "flash_free", "reconnects", "waiting", "dropped", "cause")
# The types of events that gateways and the cloud make, and no device: what rules and workflows have done and hear, who
# holds actuators.
RESERVED = (
    "rule.fired",
    "rule.action",
    "rule.applied",
    "rule.refused",
    "workflow.recorded",
    "workflow.applied",
    "workflow.refused",
    "workflow.answered",
    "workflow.message",
    "workflow.listening",
    "actuator.held",
    "actuator.lost",
    "actuator.released",
)
# A record whose content is at fault. With boot and seq it counts as received and goes to the dead letters; without
# them (both None) the gateway repeats its acknowledgement with an error, and the sender sends record by record.
Fault = namedtuple("Fault", ("boot", "seq", "field", "reason", "record"))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and value is not True and value is not False


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _values(message: dict[str, Any]) -> dict[str, Any]:
    values = message.get("values")
    if not isinstance(values, dict):
        raise Rejected("values", "must be an object")
    check_names(values, "values")
    if not 1 <= len(values) <= MAX_METRICS:
        raise Rejected("values", "must hold 1 to " + str(MAX_METRICS) + " metrics")
    for name, value in values.items():
        if not 1 <= len(name) <= MAX_NAME:
            raise Rejected("values", "names have 1 to 64 characters")
        if not _is_scalar(value):
            raise Rejected("values." + name, "must be a finite number, a boolean, a text or null")
        plain(value, "values." + name)
    return values


# --- the numbered records of a device ---------------------------------------------------------------------------------


def _telemetry(record: dict[str, Any]) -> dict[str, Any]:
    return {"values": _values(record)}


def _event(record: dict[str, Any]) -> dict[str, Any]:
    kind = plain_text(record, "type")
    if kind in RESERVED:
        raise Rejected("type", "is of those that gateways and the cloud make: " + ", ".join(RESERVED))
    data = {} if record.get("data") is None else plain_mapping(record, "data")
    return {"type": kind, "data": data}


def _error(record: dict[str, Any]) -> str | None:
    return None if record.get("error") is None else plain_text(record, "error", MAX_DOWN_BYTES)


def _result(record: dict[str, Any]) -> dict[str, Any]:
    status = record.get("status")
    if status not in STATUSES:
        raise Rejected("status", "must be one of " + ", ".join(STATUSES))
    result = None if record.get("result") is None else plain_mapping(record, "result")
    return {"id": plain_text(record, "id"), "status": status, "result": result, "error": _error(record)}


def _reported(record: dict[str, Any]) -> dict[str, Any]:
    errors = {} if record.get("errors") is None else plain_mapping(record, "errors")
    for reason in errors.values():
        if not isinstance(reason, str):
            raise Rejected("errors", "must hold texts")
    more = record.get("more", False)
    if more is not True and more is not False:
        raise Rejected("more", "must be true or false")
    version, values = number(record, "version", 0), plain_mapping(record, "values")
    return {"version": version, "values": values, "errors": errors, "more": more}


_CONTENT = {TELEMETRY: _telemetry, EVENT: _event, RESULT: _result, REPORTED: _reported}


def _identity(record: Any) -> tuple[int | None, int | None]:
    """Return (boot, seq), or twice None for a record without both (a plain publish). Raises Rejected."""
    if not isinstance(record, dict):
        raise Rejected("record", "must be a JSON object")
    if record.get("boot") is None and record.get("seq") is None:
        return None, None
    return number(record, "boot", 1, MAX_BOOT), number(record, "seq", 1)


def _record(name: str, record: dict[str, Any], boot: int | None, seq: int | None) -> dict[str, Any]:
    parsed = _CONTENT[name](record)
    parsed["boot"] = boot
    parsed["seq"] = seq
    parsed["first"] = None if seq is None or record.get("first") is None else number(record, "first", 1, seq)
    ts = record.get("ts")
    # A time that can't be is dated by the gateway, as one out of range is; a wrong type is a fault.
    if ts is not None and not _is_int(ts):
        raise Rejected("ts", "must be a whole number of milliseconds")
    parsed["ts"] = ts
    parsed["up"] = optional_number(record, "up", 0)
    if record.get("traceparent") is not None:
        parsed["traceparent"] = plain_text(record, "traceparent")
    return parsed


def parse_records(name: str, payload: bytes) -> tuple[list[dict[str, Any]], list[Fault]]:
    """Return the good records of an up-stream message and the faults of the others, each in order.

    Raises Rejected when nothing of the message can be read.
    """
    if name not in _CONTENT:
        raise Rejected("topic", "carries no records")
    message = decode(payload, MAX_UP_BYTES)
    if not isinstance(message, list):
        message = [message]
    if not message:
        raise Rejected("payload", "holds no record")
    records: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for record in message:
        boot = seq = None
        try:
            boot, seq = _identity(record)
            records.append(_record(name, record, boot, seq))
        except Rejected as error:
            faults.append(Fault(boot, seq, error.field, error.reason, record))
    if not records and all([fault.seq is None for fault in faults]):  # noqa: C419 - see Ranges
        raise Rejected(faults[0].field, faults[0].reason)
    return records, faults


# --- what is said once ------------------------------------------------------------------------------------------------


def parse_state(payload: bytes) -> dict[str, Any]:
    """Return the state of a device, its optional facts unchanged. Raises Rejected."""
    message = read_object(payload, MAX_UP_BYTES)
    if message.get("online") is not True and message.get("online") is not False:
        raise Rejected("online", "must be true or false")
    number(message, "boot", 1, MAX_BOOT)
    plain_text(message, "session")
    for name in STATE_FIGURES:
        optional_number(message, name, 0)
    if message.get("rssi") is not None:
        number(message, "rssi", -200, 100)
    if message.get("firmware") is not None:
        plain_text(message, "firmware")
    if message.get("sleep") is not None:
        schedule = mapping(message, "sleep")
        for name in ("every", "awake"):
            number(schedule, name, 0, MAX_SLEEP_MS)
        optional_number(schedule, "for", 0)
    plain(message, "state")
    return message


def ack(boot: int | None, seq: int | None, error: str | None = None, refused: int | None = None) -> bytes:
    """Build a cumulative acknowledgement; with `error` and the refused message's CRC-32 something was unreadable."""
    message: dict[str, Any] = {"boot": boot, "seq": seq}
    if error is not None:
        message["error"] = error[:256]
        message["refused"] = refused
    return dumps(message)


def time(ts: int) -> bytes:
    """Build a time message: the gateway's Unix milliseconds."""
    return dumps({"ts": ts})


def command(command_id: str, kind: str, parameters: dict[str, Any], expires: int) -> bytes:
    """Build a command; expires in Unix milliseconds. Raises Rejected for one that a device would not take."""
    return fitting(encode(checked_command(command_id, kind, parameters, expires)), MAX_DOWN_BYTES)


def checked_command(command_id: str, kind: str, parameters: dict[str, Any], expires: int) -> dict[str, Any]:
    """Return the same before it is encoded; its length is yet to be checked. Raises Rejected."""
    plain([command_id, kind, parameters], "command", MAX_DEPTH + 1)
    return command_of({"id": command_id, "type": kind, "parameters": parameters, "expires": expires})


def desired(version: int, values: dict[str, Any]) -> bytes:
    """Build the desired half of a twin. Raises Rejected for one that a device would not take."""
    plain(values, "values")
    payload = dumps({"version": version, "values": values})
    parse_desired(payload)
    return payload


def discovery_request(request_id: str, ts: int) -> bytes:
    """Build the question which devices are there."""
    return dumps({"request_id": request_id, "ts": ts})


def parse_discovery(payload: bytes) -> dict[str, Any]:
    """Return {"request_id", "device"}. Raises Rejected."""
    message = read_object(payload, MAX_UP_BYTES)
    return {"request_id": plain_text(message, "request_id"), "device": plain_mapping(message, "device")}


__all__ = [
    "FINAL_STATUSES",
    "STATUSES",
    "Fault",
    "ack",
    "checked_command",
    "command",
    "desired",
    "discovery",
    "discovery_request",
    "dumps",
    "fitting",
    "frame",
    "is_finite",
    "parse_ack",
    "parse_command",
    "parse_desired",
    "parse_discovery",
    "parse_discovery_request",
    "parse_records",
    "parse_state",
    "parse_time",
    "plain",
    "state",
    "time",
]
