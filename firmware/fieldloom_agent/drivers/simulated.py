"""A simulated sensor of temperature (°C) and relative humidity (%): a slow wave with noise, another on each board."""

import os
import time
from math import sin


class Driver:
    """Configuration: `temperature` (21) and `humidity` (45) are the means, `swing` (4) the height of the wave."""

    measures = True

    def __init__(self, entry):
        self._temperature = entry.get("temperature", 21)
        self._humidity = entry.get("humidity", 45)
        self._swing = entry.get("swing", 4)
        self._phase = os.urandom(1)[0] / 40

    def set(self, wanted):
        """Take other means, as {"temperature": 25}. Raises ValueError."""
        for name, value in wanted.items():
            if name not in ("temperature", "humidity") or not isinstance(value, (int, float)):
                raise ValueError(name + ": must be temperature or humidity, a number")
            setattr(self, "_" + name, value)

    def read(self):
        """Return both."""
        wave = sin(time.ticks_ms() / 60000 + self._phase)
        noise = os.urandom(2)
        return {
            "temperature": round(self._temperature + self._swing * wave + noise[0] / 256, 2),
            "humidity": round(self._humidity - self._swing * wave + noise[1] / 256, 2),
        }
