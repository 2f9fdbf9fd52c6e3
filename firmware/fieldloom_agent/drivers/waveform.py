"""A simulated sensor that draws a curve; the same one for the same seed on every board and at every start."""

import time
from math import pi, sin

_SHAPES = {
    "sine": lambda phase: sin(2 * pi * phase),
    "square": lambda phase: 1 if phase < 0.5 else -1,
    "sawtooth": lambda phase: 2 * phase - 1,
}


class Driver:
    """Configuration: `name`, the metric; `shape`: sine, square, sawtooth, random_walk or noise; `seed` (1).

    The value stays within `mean` (0) ± `amplitude` (1), but for `noise` (0), which adds up to ± itself. A wave takes
    `period` (60000) ms; a random walk takes a step of up to `step` (a tenth of the amplitude) a reading.
    """

    measures = True

    def __init__(self, entry):
        self._name = entry.get("name", "waveform")
        self._shape = entry.get("shape", "sine")
        if self._shape not in _SHAPES and self._shape not in ("random_walk", "noise"):
            raise ValueError("shape: " + str(self._shape) + " is not known")
        self._mean = entry.get("mean", 0)
        self._amplitude = entry.get("amplitude", 1)
        self._period = entry.get("period", 60000)
        self._noise = entry.get("noise", 0)
        self._step = entry.get("step", self._amplitude / 10)
        self._state = entry.get("seed", 1)
        self._walk = 0
        self._phase = 0
        self._looked = time.ticks_ms()

    def read(self):
        """Return the value of now."""
        now = time.ticks_ms()
        self._phase = (self._phase + time.ticks_diff(now, self._looked) / self._period) % 1
        self._looked = now
        return {self._name: round(self._mean + self._curve() + self._noise * self._random(), 3)}

    def _curve(self):
        if self._shape == "noise":
            return self._amplitude * self._random()
        if self._shape == "random_walk":
            limit = self._amplitude
            self._walk = min(max(self._walk + self._step * self._random(), -limit), limit)
            return self._walk
        return self._amplitude * _SHAPES[self._shape](self._phase)

    def _random(self):
        """Return the next number from -1 to 1; a generator of its own, since `random` is everybody's."""
        self._state = (self._state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._state >> 8) / 0x3FFFFF - 1
