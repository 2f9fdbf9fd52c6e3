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


def loads(payload: bytes) -> Any:
    """Decode strict JSON (RFC 8259). Raises ValueError, on NaN and infinities and on too deep a nesting too."""
    text = payload.decode()
    try:
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except TypeError:  # MicroPython takes no hooks, and knows no NaN when it reads
            return json.loads(text)
    except RuntimeError as error:  # CPython's RecursionError is one too
        raise ValueError("nested too deeply") from error


__all__ = ["Any", "const", "loads"]
