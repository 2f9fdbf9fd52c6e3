"""JSON as CPython reads and writes it for the contract; a board has no memory for it."""

import json
from typing import Any


def _refuse_constant(name: str) -> Any:
    raise ValueError(name + " is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is repeated in an object")
    return made


# Made once: `json.loads` and `json.dumps` with options make one a call, which costs as much as the work.
_decode = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique).decode
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def loads(payload: bytes) -> Any:
    """Decode JSON. Raises ValueError for all that RFC 8259 does not allow, and for a repeated key."""
    try:
        return _decode(payload.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def encode(value: Any) -> bytes:
    """Encode as compact JSON in UTF-8, not in escapes: a board reads an escaped surrogate pair as two halves."""
    return _encode(value).encode(errors="replace")
