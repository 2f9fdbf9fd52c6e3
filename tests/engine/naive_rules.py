"""Rules judged the slow way: from the document, by looking through the whole history at each moment.

It shares nothing with the engine but which events a rule is about, and the order of events.
"""

from itertools import combinations

ORDER = lambda event: (event.ts, event.id)  # noqa: E731


def judge(document, events, until):
    """Return what a rule does over all events of one source up to a time: {(fired by, holds): at}."""
    history = sorted({event.id: event for event in events}.values(), key=ORDER)
    moments = [(event.ts, 0, event.id, at + 1) for at, event in enumerate(history)]
    times = {event.ts + length for event in history for length in lengths(document["when"])}
    times -= {event.ts for event in history}
    moments += [(time, 1, "", sum(event.ts <= time for event in history)) for time in times if time <= until]
    done, held, is_open, fired_at = {}, None, False, None
    for at, is_wait, event_id, seen in sorted(moments):
        if not seen:
            continue
        now = holds(document["when"], history[:seen], at)
        if now is None or (is_wait and now == held):
            continue
        fired_by = f"{history[seen - 1].source}@{at}" if is_wait else event_id
        begins = now and not (held and (is_wait or document.get("fire") == "on_change"))
        cooldown = document.get("cooldown", 0) * 1000
        if begins and (fired_at is None or at - fired_at >= cooldown):
            done[fired_by, True], fired_at, is_open = at, at, True
        if not now and is_open:
            is_open = False
            if document.get("otherwise"):
                done[fired_by, False] = at
        held = now
    return done


def lengths(when):
    """Return after how long from an event time alone may change a condition, in ms."""
    ((kind, told),) = when.items()
    if kind in {"and", "or"}:
        return [length for part in told for length in lengths(part)]
    if kind == "not":
        return lengths(told)
    if kind == "count_in_window":
        return [told["within"] * 1000]
    return [told["for"] * 1000] if kind == "absent_for" else []


def holds(when, history, at):
    """Whether a condition holds after a history at a time; None for unknown."""
    ((kind, told),) = when.items()
    return JUDGES[kind](told, history, at)


def all_of(told, history, at):
    found = [holds(part, history, at) for part in told]
    return False if False in found else None if None in found else True


def any_of(told, history, at):
    found = [holds(part, history, at) for part in told]
    return True if True in found else None if None in found else False


def none_of(told, history, at):
    found = holds(told, history, at)
    return None if found is None else not found


def is_number(value):
    return type(value) in {int, float}


def in_range(told, value):
    return told.get("min", value) <= value <= told.get("max", value)


def property_range(told, history, at):
    value = history[-1].data.get(told["property"])
    return None if value is None else is_number(value) and in_range(told, value)


def property_equals(told, history, at):
    value = history[-1].data.get(told["property"])
    return None if value is None else (type(value) is bool) == (type(told["value"]) is bool) and value == told["value"]


def matches(told, event):
    return holds({"event_type": told} if isinstance(told, str) else told, [event], event.ts) is True


def sequence(told, history, at):
    steps, last = told["steps"], history[-1]
    for earlier in combinations(history[:-1], len(steps) - 1):
        run = [*earlier, last]
        is_run = all(matches(step, event) for step, event in zip(steps, run, strict=True))
        if is_run and last.ts - run[0].ts <= told["within"] * 1000:
            return True
    return False


def count_in_window(told, history, at):
    counted = [event for event in history if "where" not in told or matches(told["where"], event)]
    return sum(event.ts > at - told["within"] * 1000 for event in counted) >= told["at_least"]


def absent_for(told, history, at):
    since = None
    for event in history:
        if matches(told["event"], event):
            since = None if "after" in told else event.ts
        elif "after" in told and since is None and matches(told["after"], event):
            since = event.ts
    return since is not None and at - since >= told["for"] * 1000


def rate_of_change(told, history, at):
    last, name = history[-1], told["property"]
    if not is_number(last.data.get(name)):
        return None
    before = [event for event in history[:-1] if is_number(event.data.get(name))]
    if "over" in told:
        before = [event for event in before if event.ts >= last.ts - told["over"] * 1000][:1]
    if not before or before[-1].ts == last.ts:
        return None
    first = before[-1]
    rate = (last.data[name] - first.data[name]) * (told["per"] * 1000) / (last.ts - first.ts)
    return in_range(told, rate)


JUDGES = {
    "event_type": lambda told, history, at: history[-1].type == told,
    "property_range": property_range,
    "property_equals": property_equals,
    "and": all_of,
    "or": any_of,
    "not": none_of,
    "sequence": sequence,
    "count_in_window": count_in_window,
    "absent_for": absent_for,
    "rate_of_change": rate_of_change,
}
