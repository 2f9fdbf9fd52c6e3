"""DHT22 (AM2302): temperature (°C) and relative humidity (%) over a wire of its own.

The pulses are timed by MicroPython's C function, which takes about 25 ms.
"""

import time

import machine

_REST_MS = 2000  # the sensor measures no sooner


class Driver:
    """Configuration: `pin`; `prefix` ("") of the metrics `temperature` and `humidity`."""

    measures = True

    def __init__(self, entry):
        self._pin = machine.Pin(entry["pin"])
        self._prefix = entry.get("prefix", "")
        self._frame = bytearray(5)
        self._values = None
        self._read_at = 0

    def read(self):
        """Return both; those of the last time while the sensor rests. Raises OSError."""
        if self._values is None or time.ticks_diff(time.ticks_ms(), self._read_at) >= _REST_MS:
            self._values = None
            self._read_at = time.ticks_ms()
            self._values = self._measure()
        return self._values

    def _measure(self):
        frame = self._frame
        _read_into()(self._pin, frame)
        if sum(frame[:4]) & 0xFF != frame[4]:
            raise OSError("the checksum is wrong: is the wire too long?")
        size = ((frame[2] & 0x7F) << 8 | frame[3]) / 10
        return {
            self._prefix + "temperature": -size if frame[2] & 0x80 else size,
            self._prefix + "humidity": (frame[0] << 8 | frame[1]) / 10,
        }


def _read_into():
    if hasattr(machine, "dht_readinto"):
        return machine.dht_readinto
    import esp  # where the ESP32 port keeps it

    return esp.dht_readinto
