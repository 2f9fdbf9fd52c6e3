"""What is unlike all that a device has shown before: an online detector for each device and metric. (E2, ADR 36)

It follows a metric's level and how far values usually stray from it, and tells how many usual strays away a value is. A
value far off moves both only as much as a nearer one would, so that an anomaly does not teach the detector to take
the next one for usual, and yet a new level is the usual one after a while.
"""

from typing import Any

from fieldloom_engine.rules.conditions import Anomaly
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.instant import is_number, reader
from fieldloom_engine.rules.judging import Memory, Remembering, Slot, Test

LIMITS = {"low": 10.0, "medium": 6.0, "high": 4.0}
"""How many usual strays away a value is an anomaly, by sensitivity."""
LEVEL_OVER, STRAY_OVER = 10, 300
"""Over how many values the level and the usual stray are taken, older ones weighing less and less."""
FURTHEST = 4.0
"""As how many usual strays a value counts at most for both, once enough was learned."""
FLOOR = 1e-9  # a stray of nothing, relative to the level: a constant metric may differ in its last bits

SEEN, LEVEL, STRAY, AT, EXPECTED, USUAL = range(6)


def anomaly(told: Anomaly, at_slot: int) -> tuple[Test, Remembering]:
    """Remember how many values were seen, their level and stray, and what they were before the newest value."""
    read, name, learn, limit = reader(told.property), told.property, told.learn, LIMITS[told.sensitivity]

    def feed(event: Event, slot: Slot) -> bool:
        value = read(event.data)
        if is_number(value):
            follow(slot, event.ts, float(value), learn)
        return False

    def score(event: Event, memory: Memory) -> float | None:
        slot = memory[at_slot]
        value = read(event.data)
        if not is_number(value) or slot[AT] != event.ts or slot[SEEN] <= learn:
            return None
        return float(abs(value - slot[EXPECTED]) / slot[USUAL])

    def holds(event: Event, memory: Memory, _at: int) -> bool | None:
        found = score(event, memory)
        return None if found is None else found > limit

    def measures(event: Event, memory: Memory, _at: int) -> dict[str, Any]:
        slot = memory[at_slot]
        return {
            name: read(event.data),
            f"{name}.expected": slot[EXPECTED],
            f"{name}.usual": slot[USUAL],
            f"{name}.score": score(event, memory),
            f"{name}.seen": slot[SEEN],
        }

    shown = told.model_dump()
    fresh = (0, 0.0, 0.0, None, None, None)
    return Test("anomaly", shown, holds, measures, properties=(name,)), Remembering(fresh, feed, lambda _slot: None)


def follow(slot: Slot, ts: int, value: float, learn: int) -> None:
    """Take a value into a detector's figures."""
    seen, level, stray = slot[SEEN], slot[LEVEL], slot[STRAY]
    usual = max(stray, abs(level) * FLOOR, FLOOR)
    slot[SEEN], slot[AT], slot[EXPECTED], slot[USUAL] = seen + 1, ts, level, usual
    away = value - level if seen else 0.0
    if seen >= learn:
        away = max(-FURTHEST * usual, min(FURTHEST * usual, away))
    slot[LEVEL] = level + away / min(seen + 1, LEVEL_OVER) if seen else value
    slot[STRAY] = stray + (abs(away) - stray) / min(seen + 1, STRAY_OVER)
