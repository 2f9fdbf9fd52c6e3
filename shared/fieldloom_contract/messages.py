"""The messages between device and gateway: builders, and parsers that name field and reason when they refuse."""

import json
from collections import namedtuple

from fieldloom_contract.compat import Any, loads
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_DOWN_BYTES, MAX_METRICS, MAX_NAME, MAX_NUMBER, MAX_UP_BYTES
from fieldloom_contract.topics import EVENT, REPORTED, RESULT, TELEMETRY

STATUSES = ("accepted", "succeeded", "failed", "expired", "rejected")
FINAL_STATUSES = ("succeeded", "failed", "expired", "rejected")
BUILT_IN_COMMANDS = ("read", "write", "set_interval", "identify", "reboot", "connect", "update", "rollback")

# A record whose content is at fault. With boot and seq it counts as received and goes to the dead letters; without
# them (both None) the gateway repeats its acknowledgement with an error, and the sender sends record by record.
Fault = namedtuple("Fault", ("boot", "seq", "field", "reason"))


def is_finite(number: float) -> bool:
    """Whether a number is neither NaN nor infinite; MicroPython's math may lack isfinite."""
    return number - number == 0


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if is_finite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return value


def dumps(value: Any) -> bytes:
    """Encode as compact JSON in UTF-8; NaN and infinities become null."""
    return json.dumps(_without_nan(value), separators=(",", ":")).encode()


def frame(bodies: list[bytes], first: int | None) -> bytes:
    """Join encoded records to one message; `first`, the oldest seq still held, is told on the first of them."""
    joined = b",".join(bodies)
    if first is not None:
        joined = b'{"first":' + str(first).encode() + b"," + joined[1:]
    return joined if len(bodies) == 1 else b"[" + joined + b"]"


# --- parts of a message ---------------------------------------------------------------------------------------------


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and value is not True and value is not False


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return is_finite(value)
    return value is None or isinstance(value, (bool, int, str))


def _number(message: dict[str, Any], field: str, low: int, high: int = MAX_NUMBER) -> int:
    value = message.get(field)
    if not isinstance(value, int) or value is True or value is False:
        raise Rejected(field, "must be a whole number")
    if not low <= value <= high:
        raise Rejected(field, "must be from " + str(low) + " to " + str(high))
    return value


def _optional_number(message: dict[str, Any], field: str, low: int) -> int | None:
    return None if message.get(field) is None else _number(message, field, low)


def _text(message: dict[str, Any], field: str, longest: int = MAX_NAME) -> str:
    value = message.get(field)
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise Rejected(field, "must be a text of 1 to " + str(longest) + " characters")
    return value


def _optional_text(message: dict[str, Any], field: str) -> str | None:
    return None if message.get(field) is None else _text(message, field, MAX_DOWN_BYTES)


def _object(message: dict[str, Any], field: str) -> dict[str, Any]:
    value = message.get(field)
    if not isinstance(value, dict):
        raise Rejected(field, "must be an object")
    return value


def _values(message: dict[str, Any]) -> dict[str, Any]:
    values = _object(message, "values")
    if not 1 <= len(values) <= MAX_METRICS:
        raise Rejected("values", "must hold 1 to " + str(MAX_METRICS) + " metrics")
    for name, value in values.items():
        if not 1 <= len(name) <= MAX_NAME:
            raise Rejected("values", "names have 1 to 64 characters")
        if not _is_scalar(value):
            raise Rejected("values." + name, "must be a finite number, a boolean, a text or null")
    return values


def _decode(payload: bytes, longest: int) -> Any:
    if len(payload) > longest:
        raise Rejected("payload", "has " + str(len(payload)) + " bytes, the limit is " + str(longest))
    try:
        return loads(payload)
    except ValueError as error:  # UnicodeError is one too
        raise Rejected("payload", "is not JSON: " + str(error)) from error


def _message(payload: bytes, longest: int) -> dict[str, Any]:
    message = _decode(payload, longest)
    if not isinstance(message, dict):
        raise Rejected("payload", "must be a JSON object")
    return message


# --- the numbered records of a device ---------------------------------------------------------------------------------


def _telemetry(record: dict[str, Any]) -> dict[str, Any]:
    return {"values": _values(record)}


def _event(record: dict[str, Any]) -> dict[str, Any]:
    data = {} if record.get("data") is None else _object(record, "data")
    return {"type": _text(record, "type"), "data": data}


def _result(record: dict[str, Any]) -> dict[str, Any]:
    status = record.get("status")
    if status not in STATUSES:
        raise Rejected("status", "must be one of " + ", ".join(STATUSES))
    result = None if record.get("result") is None else _object(record, "result")
    return {"id": _text(record, "id"), "status": status, "result": result, "error": _optional_text(record, "error")}


def _reported(record: dict[str, Any]) -> dict[str, Any]:
    return {"version": _number(record, "version", 0), "values": _object(record, "values")}


_CONTENT = {TELEMETRY: _telemetry, EVENT: _event, RESULT: _result, REPORTED: _reported}


def _identity(record: Any) -> tuple[int | None, int | None]:
    """Return (boot, seq), or twice None for a record without both (a plain publish). Raises Rejected."""
    if not isinstance(record, dict):
        raise Rejected("record", "must be a JSON object")
    if record.get("boot") is None and record.get("seq") is None:
        return None, None
    return _number(record, "boot", 1, 2**31 - 1), _number(record, "seq", 1)


def _record(name: str, record: dict[str, Any], boot: int | None, seq: int | None) -> dict[str, Any]:
    parsed = _CONTENT[name](record)
    parsed["boot"] = boot
    parsed["seq"] = seq
    parsed["first"] = None if seq is None or record.get("first") is None else _number(record, "first", 1, seq)
    ts = record.get("ts")
    # A time that can't be is dated by the gateway, as one out of range is; a wrong type is a fault.
    if ts is not None and not _is_int(ts):
        raise Rejected("ts", "must be a whole number of milliseconds")
    parsed["ts"] = ts
    parsed["up"] = _optional_number(record, "up", 0)
    if record.get("traceparent") is not None:
        parsed["traceparent"] = _text(record, "traceparent")
    return parsed


def parse_records(name: str, payload: bytes) -> tuple[list[dict[str, Any]], list[Fault]]:
    """Return the good records of an up-stream message and the faults of the others, each in order.

    Raises Rejected when nothing of the message can be read.
    """
    if name not in _CONTENT:
        raise Rejected("topic", "carries no records")
    message = _decode(payload, MAX_UP_BYTES)
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
            faults.append(Fault(boot, seq, error.field, error.reason))
    if not records and all([fault.seq is None for fault in faults]):  # noqa: C419 - see Ranges
        raise Rejected(faults[0].field, faults[0].reason)
    return records, faults


# --- what is said once ------------------------------------------------------------------------------------------------


def state(online: bool, boot: int, session: str, facts: dict[str, Any] | None = None) -> bytes:
    """Build a state message; offline, it is the last will."""
    message: dict[str, Any] = {"online": online, "boot": boot, "session": session}
    message.update(facts or {})
    return dumps(message)


def parse_state(payload: bytes) -> dict[str, Any]:
    """Return the state of a device, its optional facts unchanged. Raises Rejected."""
    message = _message(payload, MAX_UP_BYTES)
    if message.get("online") is not True and message.get("online") is not False:
        raise Rejected("online", "must be true or false")
    _number(message, "boot", 1, 2**31 - 1)
    _text(message, "session")
    _optional_number(message, "up", 0)
    return message


def ack(boot: int | None, seq: int | None, error: str | None = None, refused: int | None = None) -> bytes:
    """Build a cumulative acknowledgement; with `error` and the refused message's CRC-32 something was unreadable."""
    message: dict[str, Any] = {"boot": boot, "seq": seq}
    if error is not None:
        message["error"] = error[:256]
        message["refused"] = refused
    return dumps(message)


def parse_ack(payload: bytes) -> dict[str, Any]:
    """Return {"boot", "seq", "error", "refused"}; boot and seq may be None in an error. Raises Rejected."""
    message = _message(payload, MAX_DOWN_BYTES)
    error = _optional_text(message, "error")
    refused = _optional_number(message, "refused", 0)
    boot = seq = None
    if error is None or message.get("boot") is not None:
        boot, seq = _number(message, "boot", 1, 2**31 - 1), _number(message, "seq", 0)
    return {"boot": boot, "seq": seq, "error": error, "refused": refused}


def time(ts: int) -> bytes:
    """Build a time message: the gateway's Unix milliseconds."""
    return dumps({"ts": ts})


def parse_time(payload: bytes) -> int:
    """Return Unix milliseconds. Raises Rejected."""
    return _number(_message(payload, MAX_DOWN_BYTES), "ts", 0)


def command(command_id: str, kind: str, parameters: dict[str, Any], expires: int) -> bytes:
    """Build a command; expires in Unix milliseconds. Raises Rejected for one that a device would not take."""
    payload = dumps({"id": command_id, "type": kind, "parameters": parameters, "expires": expires})
    parse_command(payload)
    return payload


def parse_command(payload: bytes) -> dict[str, Any]:
    """Return {"id", "type", "parameters", "expires"}. Raises Rejected."""
    message = _message(payload, MAX_DOWN_BYTES)
    parameters = {} if message.get("parameters") is None else _object(message, "parameters")
    return {
        "id": _text(message, "id"),
        "type": _text(message, "type"),
        "parameters": parameters,
        "expires": _number(message, "expires", 0),
    }


def desired(version: int, values: dict[str, Any]) -> bytes:
    """Build the desired half of a twin. Raises Rejected for one that a device would not take."""
    payload = dumps({"version": version, "values": values})
    parse_desired(payload)
    return payload


def parse_desired(payload: bytes) -> dict[str, Any]:
    """Return {"version", "values"}. Raises Rejected."""
    message = _message(payload, MAX_DOWN_BYTES)
    return {"version": _number(message, "version", 0), "values": _object(message, "values")}


def discovery_request(request_id: str, ts: int) -> bytes:
    """Build the question which devices are there."""
    return dumps({"request_id": request_id, "ts": ts})


def parse_discovery_request(payload: bytes) -> str:
    """Return the request's id. Raises Rejected."""
    return _text(_message(payload, MAX_DOWN_BYTES), "request_id")


def discovery(request_id: str, device: dict[str, Any]) -> bytes:
    """Build the answer to a discovery request: what `state` says, type and capabilities."""
    return dumps({"request_id": request_id, "device": device})


def parse_discovery(payload: bytes) -> dict[str, Any]:
    """Return {"request_id", "device"}. Raises Rejected."""
    message = _message(payload, MAX_UP_BYTES)
    return {"request_id": _text(message, "request_id"), "device": _object(message, "device")}
