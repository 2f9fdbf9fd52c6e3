"""DS18B20 on a 1-Wire bus (Maxim 19-7487): ROM search bit by bit, scratchpad with CRC, time for the conversion."""

import hashlib
import time
from collections.abc import Callable
from typing import Any, ClassVar

from fieldloom_sim.parts.part import Part

SEARCH_ROM, MATCH_ROM, SKIP_ROM, CONVERT, READ_SCRATCHPAD = 0xF0, 0x55, 0xCC, 0x44, 0xBE
CONVERSION_S = 0.75
POWER_ON = 85.0


def crc8(data: bytes) -> int:
    """Return the CRC of 1-Wire: x^8 + x^5 + x^4 + 1, lowest bit first."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8C if crc & 1 else crc >> 1
    return crc


class Ds18b20(Part):
    """One sensor. Its ROM is that of the entry's `sensors` or drawn from its name."""

    WORLD: ClassVar[dict[str, float]] = {"temperature": 21.0}
    FAULTS = ("absent", "crc", "brown_out")

    def __init__(
        self, entry: dict[str, Any], rom: str | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(entry)
        drawn = b"\x28" + hashlib.sha256(str(entry.get("name", "")).encode()).digest()[:6]
        self.rom = bytes.fromhex(rom) if rom else drawn + bytes([crc8(drawn)])
        self._now = now
        self._held = POWER_ON
        self._done_at: float | None = None
        self._sent = 0
        self._scratchpad = b""

    def command(self, byte: int) -> None:
        """Take a function command."""
        if byte == CONVERT:
            self._done_at = self._now() + CONVERSION_S
        elif byte == READ_SCRATCHPAD:
            self._finish()
            raw = round(self._held * 16) & 0xFFFF
            content = raw.to_bytes(2, "little") + bytes.fromhex("4b467fff0c10")
            self._scratchpad = content + bytes([crc8(content) ^ (self.fault == "crc")])
            self._sent = 0

    def next_byte(self) -> int:
        """Send a byte of the scratchpad, ones after its end."""
        self._sent += 1
        return self._scratchpad[self._sent - 1] if self._sent <= len(self._scratchpad) else 0xFF

    def _finish(self) -> None:
        if self.fault == "brown_out":
            self._held, self._done_at = POWER_ON, None
        elif self._done_at is not None and self._now() >= self._done_at:
            self._held, self._done_at = self.world["temperature"], None


class OneWireBus:
    """The sensors of one pin: where several drive the line, a zero wins."""

    def __init__(self, sensors: list[Ds18b20]) -> None:
        self._sensors = sensors
        self._awake: list[Ds18b20] = []
        self._phase = "idle"
        self._place = 0
        self._address = b""
        self._complement = False

    def reset(self) -> bool:
        """Begin anew, and say whether a sensor answers."""
        self._awake = [sensor for sensor in self._sensors if sensor.is_there]
        self._phase = "rom"
        return bool(self._awake)

    def write_byte(self, byte: int) -> None:
        """Take a ROM command, a byte of a ROM or a function command."""
        if self._phase == "rom":
            self._phase = {SEARCH_ROM: "search", MATCH_ROM: "match", SKIP_ROM: "function"}.get(byte, "idle")
            self._place, self._complement, self._address = 0, False, b""
        elif self._phase == "match":
            self._address += bytes([byte])
            if len(self._address) == 8:
                self._awake = [sensor for sensor in self._awake if sensor.rom == self._address]
                self._phase = "function"
        elif self._phase == "function":
            for sensor in self._awake:
                sensor.command(byte)

    def read_byte(self) -> int:
        """Return what the line carries."""
        byte = 0xFF
        for sensor in self._awake:
            byte &= sensor.next_byte()
        return byte

    def read_bit(self) -> int:
        """Return, during a search, the next bit of the ROMs, then its complement."""
        bits = [self._bit(sensor) ^ self._complement for sensor in self._awake]
        self._complement = not self._complement
        return int(all(bits))

    def write_bit(self, bit: int) -> None:
        """Let, during a search, only those go on that have this bit."""
        self._awake = [sensor for sensor in self._awake if self._bit(sensor) == bit]
        self._place += 1

    def _bit(self, sensor: Ds18b20) -> int:
        return sensor.rom[self._place // 8] >> self._place % 8 & 1
