"""BME280: temperature (°C), relative humidity (%) and pressure (hPa) over I2C; Bosch's data sheet BST-BME280-DS002.

Whole numbers as in the data sheet: an ESP32's floats of 32 bits would cost the pressure its last digits.
"""

import struct
import time

from machine import Pin, SoftI2C

_CHIP_ID, _CALIBRATION, _CALIBRATION_H, _CTRL_HUM, _STATUS, _CTRL_MEAS, _DATA = 0xD0, 0x88, 0xE1, 0xF2, 0xF3, 0xF4, 0xF7
_IS_BME280 = 0x60
_FORCED = 0b001_001_01  # temperature and pressure once each, then sleep again
_MEASURING = 0b1000
_MEASURE_MS = 10  # 9.3 at most (9.1 of the data sheet)
_SKIPPED = 0x80000


class Driver:
    """Configuration: `scl`, `sda`; `address` (0x76, or 0x77); `prefix` ("") of the three metrics."""

    measures = True

    def __init__(self, entry):
        self._bus = SoftI2C(scl=Pin(entry["scl"]), sda=Pin(entry["sda"]))
        self._address = entry.get("address", 0x76)
        self._prefix = entry.get("prefix", "")
        self._calibration = None
        self._begun = False

    def prepare(self):
        """Begin a measurement and return the ms that it takes. Raises OSError."""
        self._begun = False
        if self._calibration is None:
            self._calibration = self._read_calibration()
        try:
            self._bus.writeto_mem(self._address, _CTRL_HUM, b"\x01")
            self._bus.writeto_mem(self._address, _CTRL_MEAS, bytes([_FORCED]))
        except OSError:
            self._calibration = None  # another one may be plugged in
            raise
        self._begun = True
        return _MEASURE_MS

    def read(self):
        """Return what was measured last; measure, for 10 ms, if nothing was begun. Raises OSError."""
        if not self._begun:
            time.sleep_ms(self.prepare())
        if self._bus.readfrom_mem(self._address, _STATUS, 1)[0] & _MEASURING:
            time.sleep_ms(_MEASURE_MS)
        data = self._bus.readfrom_mem(self._address, _DATA, 8)
        self._begun = False
        pressure = data[0] << 12 | data[1] << 4 | data[2] >> 4
        temperature = data[3] << 12 | data[4] << 4 | data[5] >> 4
        if temperature == _SKIPPED:
            raise OSError("nothing was measured: has the supply dropped?")
        celsius, pascal, percent = compensate(self._calibration, temperature, pressure, data[6] << 8 | data[7])
        return {
            self._prefix + "temperature": celsius / 100,
            self._prefix + "humidity": round(percent / 1024, 2),
            self._prefix + "pressure": round(pascal / 25600, 2),
        }

    def _read_calibration(self):
        chip = self._bus.readfrom_mem(self._address, _CHIP_ID, 1)[0]
        if chip != _IS_BME280:
            raise OSError("chip id 0x%02x is no BME280's" % chip)
        low = self._bus.readfrom_mem(self._address, _CALIBRATION, 26)
        return calibration(low, self._bus.readfrom_mem(self._address, _CALIBRATION_H, 7))


def calibration(low, high):
    """Return (T1 to T3, P1 to P9, H1 to H6) of the registers 0x88 to 0xA1 and 0xE1 to 0xE7."""
    h2, h3, h4, mixed, h5, h6 = struct.unpack("<hBbBbb", high)
    humidity = (low[25], h2, h3, h4 << 4 | mixed & 0xF, h5 << 4 | mixed >> 4, h6)
    return struct.unpack("<HhhHhhhhhhhh", low[:24]) + humidity


def compensate(known, temperature, pressure, humidity):
    """Return (°C * 100, Pa * 256, % * 1024) of three raw values; the formulas are those of section 4.2.3."""
    t1, t2, t3, p1, p2, p3, p4, p5, p6, p7, p8, p9, h1, h2, h3, h4, h5, h6 = known
    apart = (temperature >> 4) - t1
    fine = ((((temperature >> 3) - (t1 << 1)) * t2) >> 11) + ((((apart * apart) >> 12) * t3) >> 14)

    warm = fine - 128000
    offset = warm * warm * p6 + ((warm * p5) << 17) + (p4 << 35)
    slope = (((1 << 47) + ((warm * warm * p3) >> 8) + ((warm * p2) << 12)) * p1) >> 33
    if slope == 0:
        raise OSError("the calibration is empty")
    linear = ((((1048576 - pressure) << 31) - offset) * 3125) // slope
    square = (p9 * (linear >> 13) * (linear >> 13)) >> 25
    pascal = ((linear + square + ((p8 * linear) >> 19)) >> 8) + (p7 << 4)

    warm = fine - 76800
    gain = (((((warm * h6) >> 10) * (((warm * h3) >> 11) + 32768)) >> 10) + 2097152) * h2 + 8192
    wet = (((humidity << 14) - (h4 << 20) - h5 * warm + 16384) >> 15) * (gain >> 14)
    wet -= ((((wet >> 15) * (wet >> 15)) >> 7) * h1) >> 4
    return (fine * 5 + 128) >> 8, pascal, min(max(wet, 0), 419430400) >> 12
