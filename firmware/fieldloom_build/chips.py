"""What the pins of each chip can do; from Espressif's data sheets, and its boards as MicroPython uses them."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """A chip: its GPIOs, what some of them can't do, and how its flash begins."""

    name: str
    gpios: frozenset[int]
    input_only: frozenset[int]
    taken: dict[int, str]
    """GPIO: what it is needed for."""
    analog: frozenset[int]
    """Those of ADC1: ADC2 belongs to the Wi-Fi."""
    bootloader: int
    """Where in the flash MicroPython's image begins."""

    def refusal(self, number: int, use: str) -> str | None:
        """Return why a GPIO can't be used as "in", "out" or "adc"; None if it can."""
        if number not in self.gpios:
            return f"{self.name} has no GPIO {number}"
        if number in self.taken:
            return f"GPIO {number} is {self.taken[number]}"
        if use == "out" and number in self.input_only:
            return f"GPIO {number} is an input only"
        if use == "adc" and number not in self.analog:
            return f"GPIO {number} is not on ADC1 ({_ranges(self.analog)}); ADC2 belongs to the Wi-Fi"
        return None


def _ranges(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    return f"{ordered[0]} to {ordered[-1]}"


def _all(*spans: tuple[int, int]) -> frozenset[int]:
    return frozenset(number for first, last in spans for number in range(first, last + 1))


def _taken(**uses: tuple[int, ...]) -> dict[int, str]:
    return {number: use.replace("_", " ") for use, numbers in uses.items() for number in numbers}


CHIPS = {
    "esp32": Chip(
        "ESP32",
        gpios=_all((0, 19), (21, 23), (25, 27), (32, 39)),
        input_only=_all((34, 39)),
        taken=_taken(a_line_of_the_flash=(6, 7, 8, 9, 10, 11), the_serial_console=(1, 3)),
        analog=_all((32, 39)),
        bootloader=0x1000,
    ),
    "esp32c3": Chip(
        "ESP32-C3",
        gpios=_all((0, 21)),
        input_only=frozenset(),
        taken=_taken(
            a_line_of_the_flash=(11, 12, 13, 14, 15, 16, 17), the_USB_port=(18, 19), the_serial_console=(20, 21)
        ),
        analog=_all((0, 4)),
        bootloader=0,
    ),
    "esp32s3": Chip(
        "ESP32-S3",
        gpios=_all((0, 21), (26, 48)),
        input_only=frozenset(),
        taken=_taken(
            a_line_of_the_flash=(26, 27, 28, 29, 30, 31, 32), the_USB_port=(19, 20), the_serial_console=(43, 44)
        ),
        analog=_all((1, 10)),
        bootloader=0,
    ),
}
