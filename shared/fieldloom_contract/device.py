"""What a device says and hears; the rest of the contract's messages is no business of a board, nor of its memory."""

from fieldloom_contract.compat import Any
from fieldloom_contract.fields import (
    dumps,
    mapping,
    number,
    optional_number,
    optional_text,
    read_object,
    text,
)
from fieldloom_contract.limits import MAX_BOOT, MAX_DOWN_BYTES


def frame(bodies: list[bytes], first: int | None) -> bytes:
    """Join encoded records to one message; `first`, the oldest seq still held, is told on the first of them."""
    head = bodies[0] if first is None else b'{"first":' + str(first).encode() + b"," + bodies[0][1:]
    if len(bodies) == 1:
        return head
    parts = [b"[", head]
    for body in bodies[1:]:
        parts.append(b",")
        parts.append(body)
    parts.append(b"]")
    return b"".join(parts)


def state(online: bool, boot: int, session: str, facts: dict[str, Any] | None = None) -> bytes:
    """Build a state message; offline, it is the last will."""
    message: dict[str, Any] = {"online": online, "boot": boot, "session": session}
    message.update(facts or {})
    return dumps(message)


def parse_ack(payload: bytes) -> dict[str, Any]:
    """Return {"boot", "seq", "error", "refused"}; boot and seq may be None in an error. Raises Rejected."""
    message = read_object(payload, MAX_DOWN_BYTES)
    error = optional_text(message, "error")
    refused = optional_number(message, "refused", 0)
    boot = seq = None
    if error is None or message.get("boot") is not None:
        boot, seq = number(message, "boot", 1, MAX_BOOT), number(message, "seq", 0)
    return {"boot": boot, "seq": seq, "error": error, "refused": refused}


def parse_time(payload: bytes) -> int:
    """Return Unix milliseconds. Raises Rejected."""
    return number(read_object(payload, MAX_DOWN_BYTES), "ts", 0)


def parse_command(payload: bytes) -> dict[str, Any]:
    """Return {"id", "type", "parameters", "expires"}. Raises Rejected."""
    return command_of(read_object(payload, MAX_DOWN_BYTES))


def command_of(message: dict[str, Any]) -> dict[str, Any]:
    """Return the same of a message that was read. Raises Rejected."""
    parameters = {} if message.get("parameters") is None else mapping(message, "parameters")
    return {
        "id": text(message, "id"),
        "type": text(message, "type"),
        "parameters": parameters,
        "expires": number(message, "expires", 0),
    }
