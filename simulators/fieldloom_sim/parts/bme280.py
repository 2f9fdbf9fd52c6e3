"""BME280 at its I2C registers (Bosch BST-BME280-DS002, section 5): raw values are found backwards from the world.

The compensation here is the data sheet's in floating point, the driver's the one in whole numbers: neither is the
other's copy, so that each checks the other.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from fieldloom_sim.parts.part import Part

T = (27504, 26435, -1000)  # T and P as in the example of Bosch's data sheet BST-BMP280-DS001, section 3.12
P = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
H = (75, 370, 0, 313, 50, 30)
CHIP_ID, RESET, CTRL_MEAS, DATA = 0xD0, 0xE0, 0xF4, 0xF7
NOTHING = bytes.fromhex("8000008000008000")  # what the data registers hold before the first measurement


class Bme280(Part):
    """One chip. It measures, in an instant, when its mode is set to forced or normal."""

    WORLD: ClassVar[dict[str, float]] = {"temperature": 21.0, "humidity": 45.0, "pressure": 1013.25}
    FAULTS = ("absent", "wrong_chip", "dead")

    def __init__(self, entry: dict[str, Any]) -> None:
        super().__init__(entry)
        self.address = entry.get("address", 0x76)
        self._pointer = 0
        self._registers = bytearray(256)
        self._registers[0x88:0xA0] = struct.pack("<H2hH8h", *T, *P)
        self._registers[0xA1] = H[0]
        h4, h5 = H[3], H[4]
        self._registers[0xE1:0xE8] = struct.pack(
            "<hBBBBb", H[1], H[2], h4 >> 4 & 0xFF, h4 & 0xF | (h5 & 0xF) << 4, h5 >> 4 & 0xFF, H[5]
        )
        self._registers[DATA : DATA + 8] = NOTHING

    def write(self, data: bytes) -> None:
        """Take a register's number, then pairs of value and next number as the chip does; we write one value."""
        self._pointer = data[0]
        for value in data[1:2]:
            self._registers[self._pointer] = value
            if self._pointer == CTRL_MEAS and value & 0b11 and self.fault != "dead":
                self._measure()
                self._registers[CTRL_MEAS] &= 0b11111100 if value & 0b11 != 0b11 else 0xFF

    def read(self, count: int) -> bytes:
        """Return registers from the number on that was written last."""
        self._registers[CHIP_ID] = 0x58 if self.fault == "wrong_chip" else 0x60
        return bytes(self._registers[self._pointer : self._pointer + count])

    def _measure(self) -> None:
        raw_t = _backwards(lambda raw: celsius(fine(raw)), self.world["temperature"], 20)
        warmth = fine(raw_t)
        raw_p = _backwards(lambda raw: -pascal(raw, warmth), -100 * self.world["pressure"], 20)
        raw_h = _backwards(lambda raw: percent(raw, warmth), self.world["humidity"], 16)
        packed = (raw_p << 4).to_bytes(3, "big") + (raw_t << 4).to_bytes(3, "big") + raw_h.to_bytes(2, "big")
        self._registers[DATA : DATA + 8] = packed


def fine(raw: int) -> float:
    """Return the data sheet's t_fine."""
    first = (raw / 16384 - T[0] / 1024) * T[1]
    return first + (raw / 131072 - T[0] / 8192) ** 2 * T[2]


def celsius(warmth: float) -> float:
    """Return °C of t_fine."""
    return warmth / 5120


def pascal(raw: int, warmth: float, known: Sequence[int] = P) -> float:
    """Return Pa."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = known
    first = warmth / 2 - 64000
    second = (first * first * p6 / 32768 + first * p5 * 2) / 4 + p4 * 65536
    first = (1 + (p3 * first * first / 524288 + p2 * first) / 524288 / 32768) * p1
    pressure = (1048576 - raw - second / 4096) * 6250 / first
    return pressure + (p9 * pressure * pressure / 2147483648 + pressure * p8 / 32768 + p7) / 16


def percent(raw: int, warmth: float) -> float:
    """Return % of relative humidity, 0 to 100."""
    h1, h2, h3, h4, h5, h6 = H
    apart = warmth - 76800
    wet = (raw - (h4 * 64 + h5 / 16384 * apart)) * (
        h2 / 65536 * (1 + h6 / 67108864 * apart * (1 + h3 / 67108864 * apart))
    )
    return min(max(wet * (1 - h1 * wet / 524288), 0.0), 100.0)


def _backwards(rising: Callable[[int], float], wanted: float, bits: int) -> int:
    """Return the raw value for which a rising function comes nearest to what is wanted."""
    low, high = 0, (1 << bits) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if rising(middle) <= wanted else (low, middle)
    return low if wanted - rising(low) <= rising(high) - wanted else high
