"""Hands things to gateways of a site, to each by itself, for as long as there is something for it. (D4)"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

LOOK_EVERY_S = 0.5


class Carrier:
    """`members()` gives the gateways; `hand_over(member)` hands over some, and says whether there may be more."""

    def __init__(
        self, what: str, members: Callable[[], Iterable[str]], hand_over: Callable[[str], Awaitable[bool]]
    ) -> None:
        self._what = what
        self._members = members
        self._hand_over = hand_over
        self._busy: set[str] = set()
        self._again: set[str] = set()
        """Members for which something may have come while they were looked after."""
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look at once at what is to be handed over."""
        self._woken.set()

    async def run(self) -> None:
        """Hand over until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._woken.clear()
                for member in self._members():
                    if member in self._busy:
                        self._again.add(member)
                    else:
                        self._busy.add(member)
                        tasks.create_task(self._serve(member), name=f"{self._what}-{member}")
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._woken.wait()

    async def _serve(self, member: str) -> None:
        try:
            while await self._hand_over(member) or member in self._again:
                self._again.discard(member)
        finally:
            self._busy.discard(member)
