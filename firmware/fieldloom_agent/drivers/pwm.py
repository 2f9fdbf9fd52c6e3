"""A dimmed lamp, a fan, a heater: pulse width modulation."""

from machine import PWM, Pin


class Driver:
    """Configuration: `name`, `pin`; `frequency` (1000) in Hz; `start` (0), the share of time that it is on at first."""

    measures = False

    def __init__(self, entry):
        self._name = entry.get("name", "pwm")
        self._pwm = PWM(Pin(entry["pin"]), freq=entry.get("frequency", 1000), duty_u16=0)
        self.write(entry.get("start", 0))

    def read(self):
        """Return the share of time that it is on, 0 to 1."""
        return {self._name: self._duty}

    def write(self, value):
        """Set the share. Raises ValueError."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ValueError("must be a number from 0 to 1")
        self._pwm.duty_u16(round(value * 65535))
        self._duty = value
