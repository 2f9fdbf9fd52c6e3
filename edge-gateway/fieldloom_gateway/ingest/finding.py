"""Tells the cloud which devices are there: who answers a discovery, and who is heard where nobody can be asked. (C8)

The gateway does not know the registry, so all of them are told, and the cloud ignores those that it knows.
"""

from collections.abc import Callable
from typing import Any

from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import text
from fieldloom_contract.limits import MAX_NAME
from fieldloom_runtime.records import MAX_CAPABILITIES, Discovered

MAX_HEARD = 65_536
WORDS = ("type", "board", "firmware")


class Finding:
    """Makes records of devices; `add` sends one up with the transaction of its caller."""

    def __init__(self, add: Callable[[Discovered], None]) -> None:
        self._add = add
        self._heard: set[str] = set()

    def begin(self) -> None:
        """Begin a round: whoever is heard from now on is told of again."""
        self._heard.clear()

    def hear(self, device: str, adapter: str, now: int) -> Discovered | None:
        """Tell of a device that was only heard, once a round; return what was told, if anything."""
        if device in self._heard:
            return None
        if len(self._heard) >= MAX_HEARD:
            self._heard.clear()
        self._heard.add(device)
        found = Discovered(device, now, now, adapter=adapter)
        self._add(found)
        return found

    def answer(self, device: str, adapter: str, told: dict[str, Any], now: int) -> Discovered:
        """Tell of a device that has answered, with what it says of itself. Raises Rejected."""
        found = Discovered(device, now, now, adapter=adapter, capabilities=_capabilities(told))
        found.type, found.board, found.firmware = (_word(told, name) for name in WORDS)
        self._heard.add(device)
        self._add(found)
        return found


def _word(told: dict[str, Any], name: str) -> str:
    return text(told, name) if told.get(name) not in (None, "") else ""


def _capabilities(told: dict[str, Any]) -> list[str]:
    names = told.get("capabilities")
    if names is None:
        return []
    if not isinstance(names, list) or len(names) > MAX_CAPABILITIES:
        raise Rejected("capabilities", f"must be an array of at most {MAX_CAPABILITIES} names")
    if not all(isinstance(name, str) and 1 <= len(name) <= MAX_NAME for name in names):
        raise Rejected("capabilities", f"must hold texts of 1 to {MAX_NAME} characters")
    return names
