"""DHT22 as the C function of MicroPython reads it: the 40 bits of a frame. (Aosong AM2302)"""

from typing import ClassVar

from fieldloom_sim.parts.part import Part

ETIMEDOUT = 116  # of ESP32's newlib: what the C function raises when nothing answers


class Dht22(Part):
    """One sensor."""

    WORLD: ClassVar[dict[str, float]] = {"temperature": 21.0, "humidity": 45.0}
    FAULTS = ("absent", "checksum")

    def frame(self) -> bytes:
        """Return humidity and temperature in tenths, sign and size, and their checksum."""
        celsius = round(self.world["temperature"] * 10)
        size = abs(celsius) | (0x8000 if celsius < 0 else 0)
        content = round(self.world["humidity"] * 10).to_bytes(2, "big") + size.to_bytes(2, "big")
        return content + bytes([sum(content) + (self.fault == "checksum") & 0xFF])
