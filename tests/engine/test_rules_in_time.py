"""Rules against a naive interpreter in whatever order events come; over crashes; and out of order. (E2, E8)"""

import json
from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import naive_rules
from fieldloom_engine.rules import TELEMETRY, Engine, Event, RuleSet, parse, track

END = 10_000_000
KEY = attrgetter("key")
LOG = [{"raise_alarm": {"alarm": "a"}}]

TYPES = st.sampled_from(["a", "b"])
MOMENTS = TYPES | st.builds(lambda low: {"property_range": {"property": "x", "min": low}}, st.integers(0, 3))
INSTANT = (
    st.builds(lambda told: {"event_type": told}, TYPES)
    | st.builds(
        lambda name, low: {"property_range": {"property": name, "min": low}}, st.sampled_from("xy"), st.integers(0, 3)
    )
    | st.builds(lambda value: {"property_equals": {"property": "x", "value": value}}, st.integers(0, 3) | st.booleans())
)
TEMPORAL = (
    st.builds(
        lambda steps, within: {"sequence": {"steps": steps, "within": within}},
        st.lists(MOMENTS, min_size=2, max_size=3),
        st.integers(1, 9),
    )
    | st.builds(
        lambda where, least, within: {"count_in_window": {**where, "at_least": least, "within": within}},
        st.just({}) | st.builds(lambda told: {"where": told}, MOMENTS),
        st.integers(1, 3),
        st.integers(1, 9),
    )
    | st.builds(
        lambda event, after, length: {"absent_for": {"event": event, **after, "for": length}},
        MOMENTS,
        st.just({}) | st.builds(lambda told: {"after": told}, MOMENTS),
        st.integers(1, 9),
    )
    | st.builds(
        lambda over, low: {"rate_of_change": {"property": "x", "per": 1, **over, "min": low}},
        st.just({}) | st.builds(lambda length: {"over": length}, st.integers(1, 9)),
        st.integers(-2, 2),
    )
)
CONDITIONS = st.recursive(
    INSTANT | TEMPORAL,
    lambda part: (
        st.builds(
            lambda kind, told: {kind: told}, st.sampled_from(["and", "or"]), st.lists(part, min_size=1, max_size=3)
        )
        | st.builds(lambda told: {"not": told}, part)
    ),
    max_leaves=4,
)
WAYS = st.sampled_from(
    [
        {},
        {"cooldown": 3},
        {"fire": "on_change"},
        {"fire": "on_change", "otherwise": LOG},
        {"fire": "on_change", "otherwise": LOG, "cooldown": 4},
    ]
)
RULES = st.builds(lambda when, others: {"id": "r", "when": when, "do": LOG, **others}, CONDITIONS, WAYS)
SIMPLE_RULES = st.builds(lambda when, others: {"id": "r", "when": when, "do": LOG, **others}, INSTANT, WAYS)
VALUES = st.dictionaries(st.sampled_from("xy"), st.integers(0, 4) | st.booleans() | st.none(), max_size=2)
EVENTS = st.lists(st.tuples(st.integers(0, 30), TYPES, VALUES), max_size=10).map(
    lambda told: [Event(f"e{at}", type_, "pump-1", ts * 500, data) for at, (ts, type_, data) in enumerate(told)]
)


def net(firings):
    """What is left of firings when what was withdrawn is taken away."""
    left, taken_back = {}, set()
    for firing in firings:
        is_event = firing.at == firing.event.ts
        key = (firing.event.id if is_event else f"{firing.event.source}@{firing.at}", firing.holds)
        if firing.amends == "withdraws":
            assert left.pop(key) == firing.at
            taken_back |= {effect.parameters["effect"] for effect in firing.effects}
        else:
            assert key not in left, "nothing fires twice"
            assert not taken_back & {effect.id for effect in firing.effects}, "who was taken back is gone for good"
            left[key] = firing.at
    return left


@settings(max_examples=60, deadline=None)
@given(document=RULES, events=EVENTS, data=st.data())
def test_in_whatever_order_events_come_what_is_left_is_what_the_whole_history_says(document, events, data):
    rule = parse(document)
    engine = Engine(RuleSet([rule]))
    sees = engine.rules.rules["r"].sees
    arrivals = data.draw(st.permutations(events))
    firings, now = [], 0

    for event in arrivals:
        now += data.draw(st.sampled_from([0, 1000, 40_000]))
        firings += engine.step(event, now)
        firings += engine.advance("pump-1", data.draw(st.integers(-1, 20_000)), now)
        firings += engine.elapse(now)
    firings += engine.advance("pump-1", END, END)

    seen = [event for event in events if sees(event.type)]
    assert net(firings) == naive_rules.judge(document, seen, END)


@settings(max_examples=40, deadline=None)
@given(documents=st.lists(SIMPLE_RULES, min_size=2, max_size=9), events=EVENTS, data=st.data())
def test_rules_that_are_judged_together_fire_as_each_of_them_alone(documents, events, data):
    rules = [parse({**document, "id": f"r{at}"}) for at, document in enumerate(documents)]
    together, alone = Engine(RuleSet(rules)), [Engine(RuleSet([rule])) for rule in rules]
    mostly_in_order = data.draw(st.permutations(events)) if data.draw(st.booleans()) else sorted(events, key=KEY)

    for event in mostly_in_order:
        expected = [one.step(event, 0) + one.advance("pump-1", event.ts, 0) for one in alone]
        found = together.step(event, 0) + together.advance("pump-1", event.ts, 0)
        for rule, firings in zip(rules, expected, strict=True):
            assert [firing for firing in found if firing.rule == rule.id] == firings


@settings(max_examples=25, deadline=None)
@given(document=RULES, events=EVENTS, data=st.data())
def test_a_short_memory_puts_right_what_is_out_of_order_by_no_more(document, events, data):
    events = sorted({event.ts: event for event in events}.values(), key=lambda event: event.key)
    late = data.draw(st.lists(st.integers(0, 3), min_size=len(events), max_size=len(events)))
    arrivals = [
        event for _, event in sorted(zip(late, events, strict=True), key=lambda one: events.index(one[1]) + one[0])
    ]

    def left(length):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(track, "CHUNK", length)
            engine = Engine(RuleSet([parse(document)]))
            firings = []
            for event in arrivals:
                firings += engine.step(event, event.ts)
                firings += engine.advance("pump-1", event.ts, event.ts)
            assert engine.figures()["r"].backfilled == 0
            return net(firings)

    assert left(4) == left(1000)


@settings(max_examples=25, deadline=None)
@given(document=RULES, events=EVENTS, data=st.data())
def test_after_a_crash_at_any_event_the_same_fires(document, events, data):
    rules = RuleSet([parse(document), parse({**document, "id": "s", "lateness": 0})])
    arrivals = data.draw(st.permutations(events))
    crash = data.draw(st.integers(0, len(events)))
    kept, stored = Engine(rules), {}

    def done(engine, at):
        event, now = arrivals[at], at * 7000
        return engine.step(event, now) + engine.advance("pump-1", event.ts - 2000, now) + engine.elapse(now)

    for at in range(crash):
        done(kept, at)
        stored = {name: told for name, told in {**stored, **kept.changes()}.items() if told is not None}
    assert stored == kept.checkpoint()
    restored = Engine(rules, json.loads(json.dumps(stored)))

    assert [done(kept, at) for at in range(crash, len(events))] == [
        done(restored, at) for at in range(crash, len(events))
    ]
    assert kept.advance("pump-1", END, END) == restored.advance("pump-1", END, END)
    assert kept.checkpoint() == restored.checkpoint()


HOT = {"property_range": {"property": "x", "min": 80}}
COOLED = {"fire": "on_change", "otherwise": [{"clear_alarm": {"alarm": "a"}}]}


def reading(ts, x, source="pump-1"):
    return Event(f"e{ts}", TELEMETRY, source, ts, {"x": x})


def engine_of(when, max_sources=100, **others):
    return Engine(RuleSet([parse({"id": "r", "when": when, "do": LOG, **others})]), max_sources=max_sources)


def told(firings):
    return [(firing.at, firing.holds, firing.late, firing.amends) for firing in firings]


def test_what_another_type_of_event_has_changed_the_same_event_changes_again():
    engine = engine_of(HOT, **COOLED)
    turns = [("a", 90), ("a", 91), ("b", 20), ("a", 91), ("a", 20), ("b", 20)]

    found = [engine.step(Event(f"e{at}", type_, "pump-1", at, {"x": x}), at) for at, (type_, x) in enumerate(turns)]

    assert [told(one) for one in found] == [
        [(0, True, False, None)],
        [],
        [(2, False, False, None)],
        [(3, True, False, None)],
        [(4, False, False, None)],
        [],
    ]


def test_what_an_event_out_of_order_has_changed_the_same_event_changes_again():
    engine = engine_of(HOT, **COOLED)
    events = [(1, "e1", 90), (2, "e2", 91), (2, "e3", 20), (3, "e4", 91)]

    found = [engine.step(Event(name, TELEMETRY, "pump-1", ts, {"x": x}), ts) for ts, name, x in events]

    assert [[firing.holds for firing in one] for one in found] == [[True], [], [False], [True]]


def test_a_rule_that_comes_later_judges_nothing_that_was_before_it():
    engine = engine_of(HOT, **COOLED)
    for ts in (1, 2):
        engine.step(reading(ts, 90), ts)
    engine.replace(RuleSet([parse({"id": name, "when": HOT, "do": LOG, **COOLED}) for name in ("r", "later")]))

    unknown = engine.step(reading(5, None), 5)
    between = engine.step(reading(4, 90), 5)

    assert unknown == []
    assert [(firing.rule, firing.at) for firing in between] == [("later", 4)]


def test_a_backlog_behind_the_readings_of_now_is_judged_like_a_night():
    engine = engine_of(HOT, **COOLED)
    morning = 8 * 3_600_000
    for at in range(100):
        engine.step(reading(morning + at * 1000, 20), morning + at * 1000)

    night = [20, 85, 86, 20, 90]
    found = [one for at, x in enumerate(night) for one in engine.step(reading(at * 60_000, x), morning + 200_000)]
    joined = engine.advance("pump-1", morning + 99_000, morning + 200_000)

    assert told(found) == [
        (60_000, True, True, "adds"),
        (180_000, False, True, "adds"),
        (240_000, True, True, "adds"),
    ]
    ((at, *rest),) = told(joined)
    assert rest == [False, True, "adds"], "what the night left open ends where the readings of now begin"
    assert morning <= at <= morning + 99_000
    assert engine.advance("pump-1", morning + 99_000, morning + 200_000) == []
    assert engine.figures()["r"].backfilled == 5


def test_too_many_that_wait_are_judged_without_what_is_missing():
    engine = engine_of({"count_in_window": {"at_least": 2, "within": "1h"}}, lateness="1h", fire="on_change")
    firings = []

    for at in range(track.MAX_HELD + 3):
        firings += engine.step(reading(at, 1), at)

    assert [firing.at for firing in firings] == [1]
    assert engine.figures()["r"].hurried == 3


def test_the_source_that_was_silent_longest_is_given_up_for_a_new_one():
    engine = engine_of(HOT, max_sources=2, fire="on_change")
    for at, source in enumerate(["a", "b", "a", "c"]):
        engine.step(reading(at, 90, source), at)
    engine.changes()

    engine.step(reading(9, 90, "d"), 9)

    assert list(engine.checkpoint()) == ["c", "d"]
    assert engine.changes()["a"] is None
    assert (engine.evicted, engine.figures()["r"].evicted) == (2, 2)


def test_an_event_that_comes_again_fires_nothing_again():
    for when in (HOT, {"count_in_window": {"where": HOT, "at_least": 1, "within": 1}}):
        engine = engine_of(when, cooldown="1ms")
        events = [reading(at * 1000, 90) for at in range(3)]

        first = [one for event in events for one in engine.step(event, 0) + engine.advance("pump-1", event.ts, 0)]
        again = [one for event in events for one in engine.step(event, 0) + engine.advance("pump-1", event.ts, 0)]

        assert (len(first), again) == (3, [])


def test_a_rate_remembers_so_many_values_and_counts_the_others():
    engine = engine_of({"rate_of_change": {"property": "x", "per": "1s", "over": "1h", "min": 1}})

    for at in range(300):
        engine.step(reading(at, at), at)
        engine.advance("pump-1", at, at)

    assert engine.figures()["r"].forgotten == 300 - 256


def test_an_anomaly_is_told_after_learning_with_what_was_expected():
    engine = engine_of({"anomaly": {"property": "x", "learn": 50}})
    values = [20 + (at * 7 % 5) / 10 for at in range(200)]
    values[10], values[150] = 40, 25
    firings = []

    for at, x in enumerate(values):
        firings += engine.step(reading(at, x), at) + engine.advance("pump-1", at, at)

    (firing,) = firings
    assert firing.at == 150
    assert firing.cause["x"] == 25
    assert firing.cause["x.expected"] == pytest.approx(20.2, abs=0.2)
    assert firing.cause["x.score"] > 6
    assert firing.cause["x.seen"] == 151


def test_a_new_level_is_usual_after_a_while():
    engine = engine_of({"anomaly": {"property": "x", "learn": 50}}, fire="on_change", otherwise=LOG)
    firings = []

    for at in range(600):
        x = (20 if at < 200 else 30) + (at * 7 % 5) / 10
        firings += engine.step(reading(at, x), at) + engine.advance("pump-1", at, at)

    assert [firing.holds for firing in firings] == [True, False]
    assert 200 == firings[0].at < firings[1].at < 400
