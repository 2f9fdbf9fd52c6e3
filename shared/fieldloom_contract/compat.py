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


def _refuse_constant(name: str) -> Any:
    raise ValueError(name + " is not JSON")


try:
    json.loads("0", parse_constant=_refuse_constant)
    _STRICT = True
except TypeError:  # MicroPython takes no hooks, knows no NaN when it reads, and reads bytes without a copy
    _STRICT = False


def loads(payload: bytes) -> Any:
    """Decode strict JSON (RFC 8259). Raises ValueError, on NaN and infinities and on too deep a nesting too."""
    try:
        if _STRICT:
            return json.loads(payload.decode(), parse_constant=_refuse_constant)
        return json.loads(payload)
    except RuntimeError as error:  # CPython's RecursionError is one too
        raise ValueError("nested too deeply") from error


__all__ = ["Any", "const", "loads"]
