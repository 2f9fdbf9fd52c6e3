"""The only place where the two interpreters differ: every `try: import` of the contract stands here."""

import json

try:
    from typing import Any
except ImportError:  # MicroPython has no typing and never evaluates an annotation
    Any = object  # type: ignore[misc,assignment]  # boards only

try:
    from micropython import const  # type: ignore[import-not-found]  # boards only
except ImportError:

    def const(value: int) -> int:
        """Return the value: CPython folds no constants of ours."""
        return value


try:
    _Decoder = json.JSONDecoder
except AttributeError:  # MicroPython takes no hooks, knows no NaN when it reads, and reads bytes without a copy
    STRICT = False
else:
    STRICT = True

    def _refuse_constant(name: str) -> Any:
        raise ValueError(name + " is not JSON")

    def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise ValueError("a key is repeated in an object")
        return made

    # Made once: `json.loads` and `json.dumps` with options make one a call, which costs as much as the work.
    _decode = _Decoder(parse_constant=_refuse_constant, object_pairs_hook=_unique).decode
    _encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def loads(payload: bytes) -> Any:
    """Decode JSON. Raises ValueError; on CPython for all that RFC 8259 does not allow, and for a repeated key.

    A board's parser is lenient (commas and colons, leading zeros, keys that are no texts) and takes the last of
    repeated keys: it reads only what a gateway wrote. What comes up is read by CPython.
    """
    try:
        if STRICT:
            return _decode(payload.decode())
        return json.loads(payload)
    except RuntimeError as error:  # CPython's RecursionError is one too
        raise ValueError("nested too deeply") from error


def encode(value: Any) -> bytes:
    """Encode as compact JSON in UTF-8, not in escapes: a board reads an escaped surrogate pair as two halves."""
    if STRICT:
        return _encode(value).encode(errors="replace")
    return json.dumps(value, separators=(",", ":")).encode()


__all__ = ["STRICT", "Any", "const", "encode", "loads"]
