"""DS18B20: temperature (°C, steps of 1/16) over 1-Wire; several sensors share a pin.

Below it is MicroPython's C module `_onewire`, which makes the time slots; the commands are those of the data sheet.
"""

import time
from binascii import hexlify, unhexlify

import _onewire
from machine import Pin

_CONVERSION_MS = 752  # at 12 bits 750 at most; ticks are whole ms, and two of them were cut
_FAMILY = 0x28
_SEARCH_ROM, _MATCH_ROM, _SKIP_ROM = 0xF0, 0x55, 0xCC
_CONVERT, _READ_SCRATCHPAD = 0x44, 0xBE
_POWER_ON = 85  # °C: what the scratchpad holds before the first conversion


class Driver:
    """Configuration: `pin`, which needs a pull-up; `sensors`, {ROM in hex: metric}, if there are several.

    A single sensor is found by itself; its metric is `metric` ("temperature"). Where several are found and not named,
    the error tells their ROMs.
    """

    measures = True

    def __init__(self, entry):
        self._pin = Pin(entry["pin"], Pin.OPEN_DRAIN, Pin.PULL_UP)
        self._metric = entry.get("metric", "temperature")
        self._named = [(unhexlify(rom), metric) for rom, metric in entry.get("sensors", {}).items()]
        self._sensors = self._named
        self._values = {}
        self._ready_at = None

    def prepare(self):
        """Begin a conversion of all sensors and return the ms that it takes. Raises OSError."""
        self._ready_at = None
        last, self._values = self._values, {}  # a fault forgets what was measured before
        if not self._named:
            self._sensors = [(self._only_one(), self._metric)]
        self._select(None)
        _onewire.writebyte(self._pin, _CONVERT)
        self._ready_at, self._values = time.ticks_add(time.ticks_ms(), _CONVERSION_MS), last
        return _CONVERSION_MS

    def read(self):
        """Return what the last conversion gave that has ended. Raises OSError."""
        if self._ready_at is not None and time.ticks_diff(time.ticks_ms(), self._ready_at) >= 0:
            self._values = {}
            self._values = {metric: self._temperature(rom) for rom, metric in self._sensors}
            self._ready_at = None
        if not self._values:
            raise OSError("nothing was measured yet")
        return self._values

    def _temperature(self, rom):
        self._select(rom)
        _onewire.writebyte(self._pin, _READ_SCRATCHPAD)
        scratchpad = bytes([_onewire.readbyte(self._pin) for _ in range(9)])
        if _onewire.crc8(scratchpad) or not any(scratchpad):
            raise OSError(_name(rom) + " sends a wrong CRC")
        raw = scratchpad[1] << 8 | scratchpad[0]
        celsius = (raw - 0x10000 if raw & 0x8000 else raw) / 16
        if celsius == _POWER_ON:  # a bus that hot is rarer than a sensor whose supply has dropped meanwhile
            raise OSError(_name(rom) + " lost its supply during the conversion")
        return celsius

    def _select(self, rom):
        if not _onewire.reset(self._pin):
            raise OSError("no sensor answers")
        _onewire.writebyte(self._pin, _MATCH_ROM if rom else _SKIP_ROM)
        for byte in rom or b"":
            _onewire.writebyte(self._pin, byte)

    def _only_one(self):
        roms = self._search()
        if not roms:
            raise OSError("no sensor answers")
        if len(roms) > 1:
            raise OSError("several sensors, name them in `sensors`: " + ", ".join([_name(rom) for rom in roms]))
        return roms[0]

    def _search(self):
        """Return the ROMs on the wire: at each place where they differ, the way not taken yet is taken later."""
        found, ways = [], [b""]
        while ways:
            rom, open_ways = self._follow(ways.pop())
            ways += open_ways
            if rom is not None and rom[0] == _FAMILY:
                found.append(rom)
        return found

    def _follow(self, way):
        """Follow a way of bits, one a byte, then zeros first; return the ROM and the ways that it left open."""
        if not _onewire.reset(self._pin):
            return None, []
        _onewire.writebyte(self._pin, _SEARCH_ROM)
        bits, open_ways = b"", []
        for place in range(64):
            bit, complement = _onewire.readbit(self._pin), _onewire.readbit(self._pin)
            if bit and complement:
                return None, []  # nobody is left on this way
            if place < len(way):
                bit = way[place]
            elif not bit and not complement:
                open_ways.append(bits + b"\x01")
            bits += bytes([bit])
            _onewire.writebit(self._pin, bit)
        rom = bytes([sum([bits[place + shift] << shift for shift in range(8)]) for place in range(0, 64, 8)])
        return (None if _onewire.crc8(rom) else rom), open_ways


def _name(rom):
    return hexlify(rom).decode()
