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


if hasattr(json, "JSONDecoder"):
    from fieldloom_contract.cpython import encode, loads
else:  # MicroPython takes no hooks, and reads bytes without a copy

    def loads(payload: bytes) -> Any:
        """Decode JSON. Raises ValueError.

        A board's parser is lenient (commas and colons, leading zeros, keys that are no texts) and takes the last of
        repeated keys: it reads only what a gateway wrote. What comes up is read by CPython. A payload may also be one
        that is not in memory, and has a `load` of its own.
        """
        try:
            return payload.load() if hasattr(payload, "load") else json.loads(payload)
        except RuntimeError as error:
            raise ValueError("nested too deeply") from error

    def encode(value: Any) -> bytes:
        """Encode as compact JSON in UTF-8."""
        return json.dumps(value, separators=(",", ":")).encode()


__all__ = ["Any", "const", "encode", "loads"]
