"""Expressions in CEL: bounded, and compiled once. The library takes long to load, so only who has one loads it."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

KEPT = 10_000  # expressions

FAILURES = (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError)
"""What an evaluation raises; KeyError is a name that its values lack."""


def compiled(text: str, example: Mapping[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """Return an expression's evaluation. Raises ValueError that says what is wrong.

    It is tried on an example, so that an unknown name or a wrong type is found here.
    """
    execute = _execute(text)
    try:
        execute(dict(example))
    except (RuntimeError, TypeError) as error:
        raise ValueError(str(error)) from error
    except (ArithmeticError, KeyError, ValueError):
        pass  # of these values alone; the next ones may do
    return execute


@lru_cache(KEPT)
def _execute(text: str) -> Callable[[dict[str, Any]], Any]:
    import cel  # noqa: PLC0415 - it takes a second to load

    try:
        execute: Callable[[dict[str, Any]], Any] = cel.compile(text).execute
    except ValueError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    return execute
