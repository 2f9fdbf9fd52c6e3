"""A door contact, a button, a level switch: an input, which is told as soon as it changes and has come to rest."""

import asyncio
import time

from machine import Pin


class Driver:
    """Configuration: `name`, `pin`; `pull` ("up", "down" or none), `active_low` (false); `debounce` (30) in ms.

    A change counts once the level has stayed for `debounce`; it is told by the event `input.changed` with `name` and
    `value`. The pin is looked at three times in `debounce`, at most every 5 ms: a pulse that is shorter is not seen.
    """

    measures = True

    def __init__(self, entry):
        self._name = entry.get("name", "digital_in")
        pull = {"up": Pin.PULL_UP, "down": Pin.PULL_DOWN}.get(entry.get("pull"))
        self._pin = Pin(entry["pin"], Pin.IN, pull)
        self._inverted = entry.get("active_low", False)
        self._debounce = entry.get("debounce", 30)
        self._value = self._look()

    def read(self):
        """Return the value that has come to rest last."""
        return {self._name: self._value}

    async def run(self, agent):
        """Look until the power goes."""
        step = max(5, self._debounce // 3)
        since = None  # when the level was first seen that differs from the value
        while True:
            await asyncio.sleep_ms(step)
            if self._look() == self._value:
                since = None
                continue
            now = time.ticks_ms()
            if since is None:
                since = now
            if time.ticks_diff(now, since) >= self._debounce:
                self._value = not self._value
                since = None
                agent.record("event", {"type": "input.changed", "data": {"name": self._name, "value": self._value}})

    def _look(self):
        return bool(self._pin.value()) != self._inverted
