"""Rules without I/O: stories of events and firings, and definitions whose faults are all told. (E1 to E6, E8, E10)"""

import re
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_engine.definitions import Part, shown
from fieldloom_engine.rules import (
    KINDS,
    TELEMETRY,
    Engine,
    Event,
    InvalidRule,
    Kind,
    RuleSet,
    check,
    parse,
    run,
    schema,
    templates,
)
from fieldloom_engine.rules.cases import BEGINNING, compare
from fixtures.stories import stories


@pytest.mark.parametrize("story", stories(), ids=str)
def test_rules_fire_as_their_stories_tell(story):
    failures = compare(story.case, run(story.rules, story.case))

    assert [str(failure) for failure in failures] == []


def rule(when, **others):
    do = others.pop("do", [{"log": {"message": "fired"}}])
    return parse({"id": "r", "when": when, "do": do, **others})


def event(ts, data=None, type_=TELEMETRY, source="pump-1"):
    return Event(f"e{ts}", type_, source, ts, data or {})


WORDS = st.sampled_from(
    [
        "id",
        "when",
        "do",
        "and",
        "not",
        "event_type",
        "cel",
        "source_match",
        "log",
        "message",
        "{{ data.x",
        "5s",
        "r",
        "absent_for",
    ]
)
DOCUMENTS = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), part, max_size=4),
    max_leaves=12,
)


@settings(max_examples=30, deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_whatever_a_file_holds_it_is_a_rule_or_has_faults(when, do):
    for document in (when, {"id": "r", "when": when, "do": do}, {"id": "r", "when": HOT, "do": [{"log": do}]}):
        try:
            parse(document)
        except InvalidRule as error:
            assert error.faults
            assert all(fault.reason for fault in error.faults)


HOT = {"and": [{"event_type": TELEMETRY}, {"property_range": {"property": "t", "min": 80}}]}


def test_every_fault_is_told_at_once_with_its_path():
    with pytest.raises(InvalidRule) as told:
        parse(
            {
                "id": "Über",
                "cooldown": "5 minutes",
                "otherwise": [{"log": {"message": "over"}}],
                "when": {
                    "and": [
                        {"source_match": "pump-("},
                        {"cel": "data.t >"},
                        {"property_range": {"property": "t", "min": 2, "max": 1}},
                        {"property_range": {"property": "t"}},
                        {"event_type": "a", "not": {"event_type": "b"}},
                        {"absent_for": {"event": {"anomaly": {"property": "t"}}, "for": "1m"}},
                        {"count_in_window": {"at_least": 0, "within": 0}},
                        {"unheard_of": 1},
                    ]
                },
                "do": [
                    {"command": {"parameters": {"speed": "{{ data.t * }}"}}},
                    {"sms": {"to": "me"}},
                    {"notification": {"recipient": "ops", "message": "{{ secrets }}", "importance": "urgent"}},
                ],
            }
        )

    faults = {shown(fault.path): fault.reason for fault in told.value.faults}
    assert list(faults) == [
        "id",
        "cooldown",
        "when.and[0].source_match",
        "when.and[1].cel",
        "when.and[2].property_range",
        "when.and[3].property_range",
        "when.and[4]",
        "when.and[5].absent_for.event",
        "when.and[6].count_in_window.at_least",
        "when.and[6].count_in_window.within",
        "when.and[7].unheard_of",
        "do[0].command.type",
        "do[1].sms",
        "do[2].notification.importance",
        "do[0].command.parameters.speed",
        "do[2].notification.message",
    ]
    assert faults["when.and[3].property_range"] == "needs min or max"
    assert faults["do[1].sms"] == "is not known here"
    assert faults["do[2].notification.message"].startswith("template: 'secrets' is not known here")


LOG = {"log": {"message": "a"}}


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (None, "the file: should be a valid dictionary or instance of Rule"),
        ({"engine": 7, "of": "the future"}, "engine: needs engine 7, and this is engine 1: update it first"),
        ({"id": "r", "when": {"event_type": "a"}, "do": []}, "do: List should have at least 1 item"),
        ({"id": "r", "when": {"event_type": "\0"}, "do": [LOG]}, "the file: holds a text with NUL"),
        ({"id": "r", "when": HOT, "do": [LOG], "otherwise": [LOG]}, "the file: otherwise needs fire: on_change"),
    ],
)
def test_what_is_no_rule_is_refused(document, fault):
    with pytest.raises(InvalidRule, match=r"(?s)^" + re.escape(fault)):
        parse(document)


@pytest.mark.parametrize(
    "template",
    [
        "{% for x in data %}{% endfor %}",
        "{{ data.items() }}",
        "{{ data.x ** 9 }}",
        "{{ data.x ~ data.x }}",
        "{{ ''.__class__ }} {{ lipsum }}",
        "{{ data | map('upper') }}",
        "{% set x = 1 %}",
        "{% include 'x' %}",
        "{{ range(9) }}",
        "{{ ",
        "{{ " + "(" * 2000 + ")" * 2000 + " }}",
        "x" * 4096 + "{{ at }}",
    ],
)
def test_a_template_that_could_reach_out_or_take_long_is_refused(template):
    with pytest.raises(ValueError, match=r"."):
        templates.compiled(template)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ data.n }}", 21.5),
        (" {{ data.list }} ", [1, 2]),
        ("{{ data.n + 1 }}", 22.5),
        ("{{ data['a.b'] }}", True),
        ("{{ data.list[1] }}", 2),
        ("{{ data.items }}", "a metric of that name"),
        ("{{ data.x | default('none') }}", "none"),
        ("{{ data.n }} of {{ device_id }}", "21.5 of pump-1"),
        ('{"text": "{{ data.quoted | json_escape }}"}', '{"text": "a \\"b\\"\\n"}'),
        ("{% if data.n > 20 %}warm{% else %}cold{% endif %}", "warm"),
        ("{{ 'warm' if data.n > 20 else 'cold' }}", "warm"),
        ("{{ data.n | round | int }}", 22),
        ("{{ data.n | round(999999999) }}", 21.5),
        ("{{ at | rfc3339 }}", "2026-01-01T00:00:00.000Z"),
        ("{{ data.list | json }}", "[1,2]"),
    ],
)
def test_a_template_as_a_whole_keeps_its_type(template, value):
    data = {"n": 21.5, "list": [1, 2], "a.b": True, "quoted": 'a "b"\n', "items": "a metric of that name"}

    assert templates.compiled(template)({"data": data, "device_id": "pump-1", "at": BEGINNING}) == value


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ data.x }}", "'x' is not known here"),
        ("{{ data.x }} there", "no attribute 'x'"),
        ("{{ data.text * 1000000 }}", "needs two numbers"),
        ("{{ '%09999999d' % data.n }}", "needs two numbers"),
        ("{{ data.n / 0 }}", "division by zero"),
        ("{{ data.n | round(9, 'ceil') }}", "positional argument"),
        ("{{ data.text.__class__ }}", "'__class__' is not known here"),
        ("{{ data.long }}{{ data.long }}", "more than 65536 characters"),
    ],
)
def test_what_a_template_can_not_fill_in_is_told(template, reason):
    with pytest.raises(templates.TemplateFailed, match=reason):
        templates.compiled(template)({"data": {"text": "a", "n": 1, "long": "x" * 40_000}})


def test_a_value_that_json_does_not_have_is_a_fault():
    told = yaml.safe_load("{id: r, when: {event_type: a}, do: [{publish: {topic: site/a, payload: 2026-11-27}}]}")

    with pytest.raises(InvalidRule, match="as a date: put it in quotes"):
        parse(told)


def test_ten_thousand_rules_for_others_are_not_judged():
    others = [
        parse({"id": f"r{n}", "when": when, "do": [{"log": {"message": "x"}}]})
        for n in range(100)
        for when in ({"and": [{"source_match": f"pump-{n}"}, {"property_range": {"property": "t", "min": 0}}]},)
    ]
    rules = RuleSet([*others, *(rule_of_metric(n) for n in range(100))])

    firings = Engine(rules).step(event(1, {"t": 1, "m7": 1}, source="pump-3"), 1)

    assert [firing.rule for firing in firings] == ["r3", "m7"]
    judged = [rules.shared(TELEMETRY).always, rules.own(TELEMETRY, "pump-3").always]
    assert judged == [None, None], "both are found by what the event is"


def rule_of_metric(n):
    when = {"property_range": {"property": f"m{n}", "min": 0}}
    return parse({"id": f"m{n}", "when": when, "do": [{"log": {"message": "x"}}]})


def test_devices_of_a_rule_are_asked_of_the_tier_once_until_it_says_that_they_changed():
    members, asked = {"pump-1"}, []

    def targets(devices, source):
        asked.append((devices.group, source))
        return source in members

    engine = Engine(RuleSet([rule(HOT, devices={"group": "pumps"})], targets))

    def fires(ts, source):
        return bool(engine.step(event(ts, {"t": 90}, source=source), ts))

    assert (fires(1, "pump-1"), fires(2, "pump-1"), fires(3, "pump-2")) == (True, True, False)
    assert asked == [("pumps", "pump-1"), ("pumps", "pump-2")]
    members.add("pump-2")
    engine.retarget()
    assert fires(4, "pump-2")


def test_an_effect_has_the_same_id_wherever_it_is_worked_out():
    first, second = (Engine(RuleSet([rule(HOT)])).step(event(5, {"t": 90}), now) for now in (5, 500))
    newer = Engine(RuleSet([rule(HOT, version="1.0.1")])).step(event(5, {"t": 90}), 5)

    ids = {one.effects[0].id for (one,) in (first, second)}
    assert len(ids) == 1
    assert newer[0].effects[0].id not in ids


def test_a_tier_may_know_further_kinds_of_actions():
    class Sms(Part):
        number: str

    kinds = {**KINDS, "sms": Kind(Sms)}
    found = parse({"id": "r", "when": HOT, "do": [{"sms": {"number": "{{ data.number }}"}}]}, kinds)

    (firing,) = Engine(RuleSet([found])).step(event(1, {"t": 90, "number": "123"}), 1)

    assert [(effect.kind, effect.parameters) for effect in firing.effects] == [("sms", {"number": "123"})]
    assert "Sms" in schema(kinds)["$defs"]


def test_the_schema_takes_what_the_parser_takes():
    validator = jsonschema_rs.validator_for(schema())

    for story in stories():
        for one in story.rules:
            validator.validate(one.document)
    assert not validator.is_valid({"id": "r", "when": {"event_type": 1}, "do": [{"log": {"message": "a"}}]})


def test_an_explanation_tells_which_part_held_with_the_values():
    engine = Engine(RuleSet([rule(HOT, fire="on_change")]))
    engine.step(event(1, {"t": 90}), 1)

    held = engine.explain("r", event(2, {"t": 95}))
    not_held = engine.explain("r", event(2, {"t": 60}))
    unknown = engine.explain("r", event(2, {"h": 60}))
    unseen = engine.explain("r", event(2, {"t": 95}, "alarm.raised"))

    assert (held.fires, held.reason) == (False, "it held before")
    assert (not_held.fires, not_held.reason) == (False, "it does not hold")
    assert unknown.reason == "the event does not tell whether it holds"
    assert unseen.reason == "it does not see events of type alarm.raised"
    part = not_held.condition.parts[1]
    assert (part.kind, part.told, part.holds, part.values) == (
        "property_range",
        {"property": "t", "min": 80.0},
        False,
        {"t": 60},
    )
    assert engine.step(event(3, {"t": 95}), 3) == [], "explaining changes nothing"


def test_the_cases_of_a_rule_are_run():
    good = {"name": "hot", "events": [{"at": 0, "data": {"t": 90}}], "fires": [{"at": 0}]}
    bad = {"name": "cold", "events": [{"at": "5s", "data": {"t": 60}}], "fires": [{"at": "5s"}]}

    failures = check(rule(HOT, cases=[good, bad, {**good, "name": "never", "fires": []}]))

    assert [str(failure) for failure in failures] == [
        "cold: does not fire at 5s",
        "never: fires at 0s, which is not expected",
    ]


def test_the_rule_of_the_documentation_is_one_and_its_cases_hold():
    text = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    found = parse(yaml.safe_load(text.split("```yaml\n")[1].split("```")[0]))

    assert check(found) == []
    assert len(found.cases) == 1


def test_unchanged_rules_go_on_when_others_are_replaced():
    kept, changed = rule(HOT, fire="on_change"), {"id": "other", "do": [{"log": {"message": "a"}}], "fire": "on_change"}
    engine = Engine(RuleSet([kept, parse({**changed, "when": HOT})]))
    engine.step(event(1, {"t": 90}), 1)

    engine.replace(RuleSet([parse({**changed, "when": HOT, "cooldown": "1s"}), kept]))

    assert [firing.rule for firing in engine.step(event(2, {"t": 90}), 2)] == ["other"]
    assert engine.figures()["r"].fired == 1


def test_sources_are_held_against_new_rules_when_rules_are_replaced():
    engine = Engine(RuleSet([rule({"source_match": "pump-1"})]))
    assert engine.step(event(1), 1)

    engine.replace(RuleSet([rule({"source_match": "pump-2"})]))

    assert engine.step(event(2), 2) == []
    assert engine.step(event(3, source="pump-2"), 3)
    assert engine.changes() == {}, "rules without memory leave nothing to keep"


KNOCKS = {"count_in_window": {"where": "knock", "at_least": 2, "within": "1m"}}


@pytest.mark.parametrize(
    ("when", "remembers"),
    [(KNOCKS, True), ({"and": [HOT, {"not": {"or": [HOT, KNOCKS]}}]}, True), ({"and": [HOT, {"not": HOT}]}, False)],
)
def test_a_rule_remembers_if_any_part_is_about_events_over_time(when, remembers):
    """D4: it is judged at the owner of a device's partition."""
    assert rule(when, fire="on_change").remembers is remembers


def test_a_source_goes_on_in_another_engine():
    """D4: as a partition that moves."""
    rules = RuleSet([rule(KNOCKS)])
    before, after = Engine(rules), Engine(rules)
    first, second = (Event(f"e{ts}", "knock", "pump-1", ts, {}) for ts in (1, 2))
    before.step(first, 1)
    before.advance("pump-1", 1, 1)

    after.put("pump-1", before.record("pump-1"))
    after.step(second, 2)

    assert before.changed() == ["pump-1"]
    assert before.changed() == []
    assert [firing.event for firing in after.advance("pump-1", 2, 2)] == [second]
    assert after.record("pump-2") is None
