"""What all parts have: a world that is set from outside, and faults."""

from typing import Any, ClassVar


class Part:
    """A part on a board's pins. `world` holds what it would measure, in the units of its driver."""

    WORLD: ClassVar[dict[str, float]] = {}
    FAULTS: ClassVar[tuple[str, ...]] = ("absent",)

    def __init__(self, entry: dict[str, Any]) -> None:
        self.entry = entry
        self.world = dict(self.WORLD)
        self.fault: str | None = None

    @property
    def is_there(self) -> bool:
        """Whether it is plugged in."""
        return self.fault != "absent"

    def set(self, values: dict[str, float], fault: str | None) -> None:
        """Change the world, and begin or end (None) a fault. Raises ValueError for what this part does not know."""
        unknown = [name for name in values if name not in self.world]
        if unknown:
            raise ValueError(f"{unknown[0]}: this part has {', '.join(self.world)}")
        if fault is not None and fault not in self.FAULTS:
            raise ValueError(f"fault {fault}: this part can have {', '.join(self.FAULTS)}")
        self.world |= values
        self.fault = fault


class Voltage(Part):
    """A voltage on a pin of the ADC."""

    WORLD: ClassVar[dict[str, float]] = {"volts": 1.0}


class Contact(Part):
    """A contact that holds a pin at a level; while it is absent, the pin's pull decides."""

    WORLD: ClassVar[dict[str, float]] = {"level": 0}
