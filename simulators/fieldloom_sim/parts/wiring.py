"""Which part hangs on which pins: the wiring follows the drivers of the board's configuration."""

from typing import Any

from fieldloom_sim.parts.bme280 import Bme280
from fieldloom_sim.parts.dht22 import ETIMEDOUT, Dht22
from fieldloom_sim.parts.ds18b20 import Ds18b20, OneWireBus
from fieldloom_sim.parts.part import Contact, Part, Voltage

ON_A_PIN: dict[str, type[Part]] = {"dht22": Dht22, "adc": Voltage, "digital_in": Contact}


class Wiring:
    """All parts of a board, by the names of their drivers. They stay over resets and power cuts."""

    def __init__(self, drivers: list[dict[str, Any]]) -> None:
        self.parts: dict[str, Part] = {}
        self._on_pin: dict[int, Part] = {}
        self._on_i2c: dict[tuple[int, int], list[Bme280]] = {}
        self._on_one_wire: dict[int, list[Ds18b20]] = {}
        for entry in drivers:
            self._attach(entry.get("name", entry["driver"]), entry)

    def set(self, name: str, values: dict[str, float], fault: str | None = None) -> None:
        """Change what a part measures, and its fault. Raises ValueError."""
        if name not in self.parts:
            raise ValueError(f"{name}: the parts of this board are {', '.join(self.parts)}")
        self.parts[name].set(values, fault)

    def part(self, pin: int) -> Part | None:
        """Return the part on a pin of its own, if it is plugged in."""
        part = self._on_pin.get(pin)
        return part if part is not None and part.is_there else None

    def i2c(self, scl: int, sda: int) -> list[Bme280]:
        """Return the chips on two wires that are plugged in."""
        return [chip for chip in self._on_i2c.get((scl, sda), []) if chip.is_there]

    def one_wire(self, pin: int) -> OneWireBus:
        """Return the 1-Wire bus of a pin."""
        return OneWireBus(self._on_one_wire.get(pin, []))

    def dht_frame(self, pin: int) -> bytes:
        """Return what the DHT22 of a pin sends. Raises OSError without one."""
        sensor = self.part(pin)
        if not isinstance(sensor, Dht22):
            raise OSError(ETIMEDOUT, "no answer")
        return sensor.frame()

    def _attach(self, name: str, entry: dict[str, Any]) -> None:
        kind = entry["driver"]
        if kind == "bme280":
            chip = Bme280(entry)
            self.parts[name] = chip
            self._on_i2c.setdefault((entry["scl"], entry["sda"]), []).append(chip)
        elif kind == "ds18b20":
            wire = self._on_one_wire.setdefault(entry["pin"], [])
            named: dict[str, str | None] = {metric: rom for rom, metric in entry.get("sensors", {}).items()}
            for part_name, rom in (named or {name: None}).items():
                sensor = Ds18b20({**entry, "name": part_name}, rom)
                self.parts[part_name] = sensor
                wire.append(sensor)
        elif kind in ON_A_PIN:
            self.parts[name] = self._on_pin[entry["pin"]] = ON_A_PIN[kind](entry)
