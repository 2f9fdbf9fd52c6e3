"""What `machine` offers at a board's pins: levels, the ADC, PWM, I2C, 1-Wire, and the DHT's pulses. (F7)

As MicroPython's ESP32 port has it, down to the error numbers; behind the pins is the board's wiring.
"""

from typing import Any

from fieldloom_sim.parts.bme280 import Bme280
from fieldloom_sim.parts.ds18b20 import OneWireBus, crc8
from fieldloom_sim.parts.part import Contact, Voltage
from fieldloom_sim.parts.wiring import Wiring

ENODEV = 19  # what a chip that does not acknowledge raises


class Pin:
    """One GPIO; `level` is what the board drives or, for an input without a contact, its pull."""

    def __init__(self, number: int, wiring: Wiring) -> None:
        self.number = number
        self.mode: int | None = None
        self.level = 0
        self.duty: float | None = None
        self._wiring = wiring

    def value(self, level: Any = None) -> int | None:
        """Return the level, or drive it."""
        if level is not None:
            self.level = 1 if level else 0
            return None
        contact = None if self.mode == Pins.OUT else self._wiring.part(self.number)
        return int(contact.world["level"]) if isinstance(contact, Contact) else self.level


class Pins:
    """`machine.Pin`: called, it returns the one object of a GPIO."""

    IN, OUT, OPEN_DRAIN, PULL_DOWN, PULL_UP = 1, 3, 7, 1, 2

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._pins: dict[int, Pin] = {}

    def __call__(self, number: int, mode: int | None = None, pull: int | None = None, value: Any = None) -> Pin:
        """Return a pin, set up."""
        pin = self._pins.setdefault(number, Pin(number, self._wiring))
        pin.mode = mode if mode is not None else pin.mode
        if pull is not None:
            pin.level = int(pull == self.PULL_UP)
        if value is not None:
            pin.value(value)
        return pin

    def told(self) -> dict[int, dict[str, Any]]:
        """Return what the board drives, by GPIO."""
        return {number: {"level": pin.level, "duty": pin.duty} for number, pin in self._pins.items()}


class AnalogInput:
    """What `machine.ADC` returns."""

    def __init__(self, pin: Pin, ceiling: float, wiring: Wiring) -> None:
        self._pin = pin
        self._ceiling = ceiling
        self._wiring = wiring

    def read_uv(self) -> int:
        """Return microvolts, in steps of 12 bits, up to what the attenuation lets through."""
        part = self._wiring.part(self._pin.number)
        volts = part.world["volts"] if isinstance(part, Voltage) else 0.0
        step = self._ceiling / 4095
        return round(round(min(max(volts, 0.0), self._ceiling) / step) * step * 1e6)


class Adc:
    """`machine.ADC`."""

    ATTN_0DB, ATTN_2_5DB, ATTN_6DB, ATTN_11DB = 0, 1, 2, 3
    CEILINGS = (0.95, 1.25, 1.75, 2.45)  # V, ESP32's data sheet

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def __call__(self, pin: Pin, atten: int = ATTN_0DB) -> AnalogInput:
        """Return the input of a pin."""
        return AnalogInput(pin, self.CEILINGS[atten], self._wiring)


class Pwm:
    """`machine.PWM`: what it drives is on the pin."""

    def __init__(self, pin: Pin, freq: int = 5000, duty_u16: int = 0) -> None:
        self._pin = pin
        self._frequency = freq
        self.duty_u16(duty_u16)

    def freq(self) -> int:
        """Return Hz."""
        return self._frequency

    def duty_u16(self, duty: int) -> None:
        """Set the share of time that the pin is high, of 65535."""
        self._pin.duty = duty / 65535


class I2c:
    """A bus of `machine.I2C` or `SoftI2C`. Raises OSError(ENODEV) where no chip acknowledges."""

    def __init__(self, wiring: Wiring, scl: Pin, sda: Pin) -> None:
        self._wires = (scl.number, sda.number)
        self._wiring = wiring

    def scan(self) -> list[int]:
        """Return the addresses that acknowledge."""
        return sorted(chip.address for chip in self._wiring.i2c(*self._wires))

    def writeto(self, address: int, data: bytes) -> int:
        """Write, and return how many bytes were acknowledged."""
        self._chip(address).write(data)
        return len(data)

    def readfrom(self, address: int, count: int) -> bytes:
        """Read."""
        return self._chip(address).read(count)

    def writeto_mem(self, address: int, register: int, data: bytes) -> None:
        """Write registers."""
        self.writeto(address, bytes([register]) + data)

    def readfrom_mem(self, address: int, register: int, count: int) -> bytes:
        """Read registers."""
        self.writeto(address, bytes([register]))
        return self.readfrom(address, count)

    def _chip(self, address: int) -> Bme280:
        for chip in self._wiring.i2c(*self._wires):
            if chip.address == address:
                return chip
        raise OSError(ENODEV, "no acknowledgement")


class OneWire:
    """`_onewire`, the C module below MicroPython's `onewire`."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._buses: dict[int, OneWireBus] = {}

    def reset(self, pin: Pin) -> bool:
        """Return whether somebody answers."""
        return self._bus(pin).reset()

    def readbit(self, pin: Pin) -> int:
        """Read a bit."""
        return self._bus(pin).read_bit()

    def writebit(self, pin: Pin, bit: int) -> None:
        """Write a bit."""
        self._bus(pin).write_bit(bit)

    def readbyte(self, pin: Pin) -> int:
        """Read a byte."""
        return self._bus(pin).read_byte()

    def writebyte(self, pin: Pin, byte: int) -> None:
        """Write a byte."""
        self._bus(pin).write_byte(byte)

    def crc8(self, data: bytes) -> int:
        """Return the CRC."""
        return crc8(data)

    def _bus(self, pin: Pin) -> OneWireBus:
        return self._buses.setdefault(pin.number, self._wiring.one_wire(pin.number))


class Esp:
    """`esp`."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def dht_readinto(self, pin: Pin, _: bytes) -> bytes:
        """Return the frame that the stand-in puts into the buffer. Raises OSError(ETIMEDOUT)."""
        return self._wiring.dht_frame(pin.number)
