"""What a virtual board's `machine`, `network`, `esp32`, `esp`, `_onewire` and `time` stand for, in the loader. (F7)

The board asks over a line. Bytes travel as {"hex"}, what stays here as {"thing"}, its number.

As hard on the firmware as an ESP32: the clock starts in 2000 after a power cut and runs on over a reset, the watchdog
can't be stopped, only set anew.
"""

import calendar
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from fieldloom_sim.parts.wiring import Wiring
from fieldloom_sim.peripherals import Adc, Esp, I2c, OneWire, Pin, Pins, Pwm

RTC_MEMORY = 2048
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Clock:
    """Whole seconds since 2000, and the memory beside them; both last until the power goes."""

    def __init__(self) -> None:
        self.memory = b""
        self.set(0)

    def set(self, seconds: int) -> None:
        """Set."""
        self._start, self._since = seconds, time.monotonic()

    def seconds(self) -> int:
        """Return the time now."""
        return self._start + int(time.monotonic() - self._since)


class Time:
    """`time`, as far as it tells dates: from 2000, in the one zone that a board knows."""

    def __init__(self, clock: Clock) -> None:
        self.time = clock.seconds

    def time_ns(self) -> int:
        """Return ns since 2000."""
        return self.time() * 10**9

    def gmtime(self, seconds: float | None = None) -> tuple[int, ...]:
        """Return (year, month, day, hours, minutes, seconds, weekday, day of the year)."""
        return (EPOCH + timedelta(seconds=self.time() if seconds is None else int(seconds))).timetuple()[:8]

    localtime = gmtime

    def mktime(self, parts: list[int]) -> int:
        """Return seconds since 2000."""
        return calendar.timegm(tuple(parts)) - int(EPOCH.timestamp())


class Watchdog:
    """Resets the board when it is not fed in time."""

    def __init__(self) -> None:
        self.timeout_s: float | None = None
        self.bites_at: float | None = None

    def arm(self, timeout: int) -> "Watchdog":
        """Start, or set another time-out in ms."""
        self.timeout_s = timeout / 1000
        self.feed()
        return self

    def feed(self) -> None:
        """Wait anew."""
        if self.timeout_s is not None:
            self.bites_at = time.monotonic() + self.timeout_s


class RTC:
    """`machine.RTC`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def memory(self, content: bytes | None = None) -> bytes | None:
        """Return what is kept over sleep and resets, or keep up to 2,048 bytes."""
        if content is None:
            return self._clock.memory
        if len(content) > RTC_MEMORY:
            raise ValueError("buffer too long")
        self._clock.memory = content
        return None

    def datetime(self, parts: list[int] | None = None) -> tuple[int, ...] | None:
        """Return (year, month, day, weekday, hours, minutes, seconds, subseconds), or set them."""
        if parts is None:
            now = EPOCH + timedelta(seconds=self._clock.seconds())
            return now.year, now.month, now.day, now.weekday(), now.hour, now.minute, now.second, 0
        year, month, day, _, hour, minute, second, _ = parts
        told = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        self._clock.set(int((told - EPOCH).total_seconds()))
        return None


class Machine:
    """`machine`."""

    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5
    PWM = Pwm

    def __init__(self, clock: Clock, watchdog: Watchdog, cause: int, wiring: Wiring) -> None:
        self._clock = clock
        self._watchdog = watchdog
        self._cause = cause
        self._wiring = wiring
        self.Pin = Pins(wiring)
        self.ADC = Adc(wiring)

    def SoftI2C(self, scl: Pin, sda: Pin, freq: int = 400_000) -> I2c:  # noqa: ARG002, N802 - MicroPython's
        """Return the bus of two pins."""
        return I2c(self._wiring, scl, sda)

    def I2C(self, _: int, scl: Pin, sda: Pin, freq: int = 400_000) -> I2c:  # noqa: ARG002, N802 - MicroPython's
        """Return a controller's bus, put onto two pins."""
        return I2c(self._wiring, scl, sda)

    def RTC(self) -> RTC:  # noqa: N802 - the name is MicroPython's
        """Return the clock."""
        return RTC(self._clock)

    def WDT(self, timeout: int = 5000) -> Watchdog:  # noqa: N802 - the name is MicroPython's
        """Start the watchdog."""
        return self._watchdog.arm(timeout)

    def reset_cause(self) -> int:
        """Return why the board has started."""
        return self._cause

    def reset(self) -> None:
        """Start anew."""
        raise ResetRequested

    def deepsleep(self, time_ms: int) -> None:
        """Start anew after a time without power for anything but the clock."""
        raise SleepRequested(time_ms)


class Station:
    """`network.WLAN`: in the net as soon as it was told to connect. In the air is what begins with "virtual"."""

    DHCP = ("10.0.0.2", "255.255.255.0", "10.0.0.1", "10.0.0.1")

    def __init__(self) -> None:
        self._ssid: str | None = None
        self._address = self.DHCP

    def active(self, *_: Any) -> bool:
        """Switch the radio."""
        return True

    def connect(self, ssid: str, *_: Any) -> None:
        """Join."""
        self._ssid = ssid

    def disconnect(self) -> None:
        """Leave."""
        self._ssid = ""

    def isconnected(self) -> bool:
        """Whether it has joined."""
        return bool(self._ssid) and str(self._ssid).startswith("virtual")

    def ifconfig(self, address: str | list[str] | None = None) -> tuple[str, ...]:
        """Return (ip, netmask, router, dns), or set them; "dhcp" gets them from the network."""
        if address is not None:
            self._address = self.DHCP if address == "dhcp" else (address[0], address[1], address[2], address[3])
        return self._address

    @property
    def is_cut_off(self) -> bool:
        """Whether nothing can be reached: a network that is not there, or an address that is not of it.

        A board that was never told of a network has another way, as a cable.
        """
        return self._ssid is not None and not (self.isconnected() and self._address[2] == self.DHCP[2])

    def status(self, what: str) -> int | None:
        """Return the signal, in dBm."""
        return -50 if what == "rssi" else None


class Network:
    """`network`."""

    STA_IF = 0

    def __init__(self) -> None:
        self._station = Station()

    def WLAN(self, _: int = 0) -> Station:  # noqa: N802 - the name is MicroPython's
        """Return the one interface."""
        return self._station


class Esp32:
    """`esp32`: the memory of the IDF outside the Python heap, as (total, free, largest, lowest) a region."""

    HEAP_DATA = 4

    def idf_heap_info(self, _: int) -> list[tuple[int, int, int, int]]:
        """Return a plausible figure: a virtual board has no such memory."""
        return [(200_000, 120_000, 100_000, 90_000)]


class ResetRequested(Exception):  # noqa: N818 - it reads as what happened
    """The firmware has called `machine.reset`."""


class SleepRequested(Exception):  # noqa: N818 - it reads as what happened
    """The firmware has called `machine.deepsleep`."""

    def __init__(self, time_ms: int) -> None:
        super().__init__(time_ms)
        self.seconds = time_ms / 1000


class Hardware:
    """All of one board's, from one start to the next; the wiring outlives it."""

    def __init__(self, clock: Clock, cause: int, wiring: Wiring) -> None:
        self.watchdog = Watchdog()
        self.wiring = wiring
        self.machine = Machine(clock, self.watchdog, cause, wiring)
        self.network = Network()
        self.esp32 = Esp32()
        self.esp = Esp(wiring)
        self.onewire = OneWire(wiring)
        self.time = Time(clock)
        self._things: list[Any] = [self]

    def is_cut_off(self) -> bool:
        """Whether the board's sockets reach nothing."""
        return self.network.WLAN().is_cut_off

    def answer(self, question: bytes) -> bytes:
        """Answer `[number, name]` or `[number, null, positional, named]` by `[value, number, error]`.

        An error is a number for OSError, else a text. Raises ResetRequested and SleepRequested.
        """
        number, name, *arguments = json.loads(question, object_hook=self._received)
        thing = self._things[number]
        try:
            told = getattr(thing, name) if name else thing(*arguments[0], **arguments[1])
        except OSError as error:
            return _line(None, None, error.errno)
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            return _line(None, None, str(error))
        if isinstance(told, bytes):
            return _line({"hex": told.hex()}, None, None)
        if told is None or isinstance(told, int | float | str | list | tuple):
            return _line(told, None, None)
        if told not in self._things:
            self._things.append(told)
        return _line(None, self._things.index(told), None)

    def _received(self, value: dict[str, Any]) -> Any:
        if "thing" in value:
            return self._things[value["thing"]]
        return bytes.fromhex(value["hex"]) if "hex" in value else value


def _line(*answer: Any) -> bytes:
    return json.dumps(answer).encode() + b"\n"
