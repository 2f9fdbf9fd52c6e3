"""Patterns in RE2: their time grows with the text alone, whatever they are. Loaded by who has one."""

import re
from collections.abc import Callable

_NAMES = re.compile(r"[a-z0-9_-]+(?:\|[a-z0-9_-]+)*")


def compiled(text: str) -> Callable[[str], object]:
    """Return what holds a whole text against a pattern. Raises ValueError that says what is wrong."""
    import re2  # noqa: PLC0415 - it takes long to load

    options = re2.Options()
    options.log_errors = False
    try:
        match: Callable[[str], object] = re2.compile(text, options).fullmatch
    except re2.error as error:
        (reason,) = error.args
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from error
    return match


def names_of(text: str) -> frozenset[str] | None:
    """Return what a pattern that only lists names matches, as `pump-1|pump-2`; None for any other."""
    return frozenset(text.split("|")) if _NAMES.fullmatch(text) else None
