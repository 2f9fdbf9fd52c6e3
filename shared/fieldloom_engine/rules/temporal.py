"""Conditions on what came before: each remembers a bounded list of numbers of a source. (E2)

Each is fed the events of a source in the order of their time, whether or not its rule holds for them, and asked after.
"""

from typing import Any

from fieldloom_engine.rules.conditions import AbsentFor, CountInWindow, RateOfChange, Sequence
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.instant import is_number, reader
from fieldloom_engine.rules.judging import Memory, Remembering, Slot, Test

MAX_READINGS = 256  # that a rate of change remembers

Built = tuple[Test, Remembering]


def never(_slot: Slot) -> None:
    """Return that time alone changes nothing."""


def sequence(told: Sequence, steps: tuple[Test, ...], at_slot: int) -> Built:
    """Remember, for each number of steps, the latest beginning of a run of so many; of all, that the last event ends.

    Of all runs of a length the one that began last is the one that can still end in time.
    """
    tests, last, within = tuple(step.holds for step in steps), len(steps) - 1, told.within
    began = last

    def feed(event: Event, slot: Slot) -> bool:
        slot[began] = None
        for step in range(last, -1, -1):
            if not tests[step](event, [], event.ts):
                continue
            start = event.ts if step == 0 else slot[step - 1]
            if start is not None and start >= event.ts - within:
                slot[step] = start
        return False

    def holds(_event: Event, memory: Memory, _at: int) -> bool | None:
        return memory[at_slot][began] is not None

    def measures(event: Event, memory: Memory, _at: int) -> dict[str, Any]:
        start = memory[at_slot][began]
        return {"sequence_ms": None if start is None else event.ts - start}

    shown = {"within": within, "steps": [{step.kind: step.told} for step in steps]}
    return Test("sequence", shown, holds, measures), Remembering((None,) * (last + 1), feed, never)


def count_in_window(told: CountInWindow, where: Test | None, at_slot: int) -> Built:
    """Remember the times of the last events that count, as many as are needed."""
    within, needed, test = told.within, told.at_least, where.holds if where else None

    def feed(event: Event, slot: Slot) -> bool:
        if test is None or test(event, [], event.ts):
            slot.append(event.ts)
            if len(slot) > needed:
                del slot[0]
        return False

    def holds(_event: Event, memory: Memory, at: int) -> bool | None:
        slot = memory[at_slot]
        return len(slot) == needed and slot[0] > at - within

    def measures(_event: Event, memory: Memory, at: int) -> dict[str, Any]:
        return {"count": sum(ts > at - within for ts in memory[at_slot])}

    def due(slot: Slot) -> int | None:
        return int(slot[0]) + within if len(slot) == needed else None

    shown = {"at_least": needed, "within": within, "where": {where.kind: where.told} if where else None}
    return Test("count_in_window", shown, holds, measures), Remembering((), feed, due)


def absent_for(told: AbsentFor, event: Test, after: Test | None, at_slot: int) -> Built:
    """Remember since when it is waited; null while it is not."""
    length, ends, begins = told.for_, event.holds, after.holds if after else None

    def feed(event: Event, slot: Slot) -> bool:
        if ends(event, [], event.ts):
            slot[0] = event.ts if begins is None else None
        elif begins is not None and slot[0] is None and begins(event, [], event.ts):
            slot[0] = event.ts
        return False

    def holds(_event: Event, memory: Memory, at: int) -> bool | None:
        (since,) = memory[at_slot]
        return since is not None and at - since >= length

    def measures(_event: Event, memory: Memory, at: int) -> dict[str, Any]:
        (since,) = memory[at_slot]
        return {"absent_ms": None if since is None else at - since}

    def due(slot: Slot) -> int | None:
        return None if slot[0] is None else int(slot[0]) + length

    shown = {"event": {event.kind: event.told}, "for": length, "after": {after.kind: after.told} if after else None}
    return Test("absent_for", shown, holds, measures), Remembering((None,), feed, due)


def rate_of_change(told: RateOfChange, at_slot: int) -> Built:
    """Remember readings as (time, value, time, value, ...), of which the last is the newest."""
    read, per, over, name = reader(told.property), told.per, told.over, told.property
    low = float("-inf") if told.min is None else told.min
    high = float("inf") if told.max is None else told.max

    def feed(event: Event, slot: Slot) -> bool:
        value = read(event.data)
        if not is_number(value):
            return False
        slot += (event.ts, value)
        if over is None:
            del slot[:-4]
            return False
        while slot[0] < event.ts - over:
            del slot[:2]
        is_full = len(slot) > 2 * MAX_READINGS
        if is_full:
            del slot[:2]
        return is_full

    def rate(event: Event, memory: Memory) -> float | None:
        slot = memory[at_slot]
        if len(slot) < 4 or slot[-2] != event.ts or slot[0] == slot[-2]:
            return None
        change: float = (slot[-1] - slot[1]) * per / (slot[-2] - slot[0])
        return change

    def holds(event: Event, memory: Memory, _at: int) -> bool | None:
        found = rate(event, memory)
        return None if found is None else low <= found <= high

    def measures(event: Event, memory: Memory, _at: int) -> dict[str, Any]:
        return {name: read(event.data), f"{name}.rate": rate(event, memory)}

    shown = told.model_dump(exclude_none=True)
    return Test("rate_of_change", shown, holds, measures, properties=(name,)), Remembering((), feed, never)
