"""A relay, a lamp, a valve: a digital output, off or on; without a pin it remembers only."""


class Driver:
    """Configuration: `name`; `pin`, a GPIO number; `active_low` (false), as most relay boards are; `start` (false).

    The pin gets the level of `start` as it becomes an output, so that nothing switches on while the board starts.
    """

    measures = False

    def __init__(self, entry):
        self._name = entry.get("name", "switch")
        self._on = entry.get("start", False)
        self._inverted = entry.get("active_low", False)
        self._pin = None
        if entry.get("pin") is not None:
            from machine import Pin

            self._pin = Pin(entry["pin"], Pin.OUT, value=self._level())

    def read(self):
        """Return whether it is on."""
        return {self._name: self._on}

    def write(self, value):
        """Switch. Raises ValueError."""
        if value is not True and value is not False:
            raise ValueError("must be true or false")
        self._on = value
        if self._pin is not None:
            self._pin.value(self._level())

    def _level(self):
        return 1 if self._on != self._inverted else 0
