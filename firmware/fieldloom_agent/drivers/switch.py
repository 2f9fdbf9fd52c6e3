"""A relay, a lamp, a valve: on or off, on a pin if the configuration names one."""


class Driver:
    """Configuration: `name`, and `pin`, a GPIO number, for a real one."""

    measures = False

    def __init__(self, entry):
        self._name = entry.get("name", "switch")
        self._on = False
        self._pin = None
        if entry.get("pin") is not None:
            from machine import Pin

            self._pin = Pin(entry["pin"], Pin.OUT, value=0)

    def read(self):
        """Return whether it is on."""
        return {self._name: self._on}

    def write(self, value):
        """Switch. Raises ValueError."""
        if value is not True and value is not False:
            raise ValueError("must be true or false")
        self._on = value
        if self._pin is not None:
            self._pin.value(1 if value else 0)
