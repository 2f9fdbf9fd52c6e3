"""A workflow as a graph for the console, as a Mermaid diagram, and drawn in text. (W1, A5)"""

import json
import re

from hypothesis import given, settings

from engine.workflows import strategies
from fieldloom_engine.workflows import parse
from fieldloom_engine.workflows.graph import graph, node_of
from fieldloom_engine.workflows.pictures import drawing, mermaid

IN = {"initial_state": "in", "states": {"in": {"type": "task", "actions": [{"log": {"message": "{{ n }}"}}]}}}
DOCUMENT = {
    "id": "w",
    "name": "Cool it",
    "version": "1.2.0",
    "triggers": [
        {"event": {"type": "hot"}, "condition": {"property_range": {"property": "t", "min": 80}}},
        {"schedule": {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}},
        {"device_state": {"state": "offline"}},
        {"message": {"topic": "site/+/alarm"}},
        {"api": {}},
    ],
    "variables": [{"name": "rooms", "type": "array", "default": []}, {"name": "n", "default": 1}],
    "initial_state": "cool",
    "states": {
        "cool": {
            "type": "task",
            "actions": [{"command": {"type": "fan-on"}}, {"log": {"message": "cools"}}],
            "retry": {"max_attempts": 3},
            "timeout": "90s",
            "on_error": [
                {"target": "bad", "condition": {"property_equals": {"property": "failure.kind", "value": "timeout"}}}
            ],
            "transitions": [{"target": "settle"}],
        },
        "settle": {"type": "wait", "for": "5m", "transitions": [{"target": "both"}]},
        "both": {
            "type": "parallel",
            "branches": [
                IN,
                {"initial_state": "each", "states": {"each": {"type": "map", "items": "rooms", "iterator": IN}}},
            ],
            "transitions": [
                {
                    "target": "closed",
                    "condition": {
                        "or": [
                            {"and": [{"cel": "data.n > 2.0"}, {"property_range": {"property": "n", "max": 8}}]},
                            {"not": {"property_range": {"property": "n", "min": 1, "max": 2}}},
                        ]
                    },
                },
                {"target": "done"},
            ],
        },
        "closed": {"type": "wait", "event": {"type": "door.closed"}, "transitions": [{"target": "night"}]},
        "night": {"type": "wait", "until": "2026-12-24T18:00:00Z", "transitions": [{"target": "done"}]},
        "done": {"type": "succeed"},
        "bad": {"type": "fail", "error": "too_warm"},
    },
    "error_handler": {"result_state": "bad"},
}


def test_a_graph_has_every_state_and_way_with_its_path():
    told = graph(parse(DOCUMENT)).as_json()

    nodes = {node["id"]: node for node in told["nodes"]}
    assert list(nodes) == [
        *("cool", "settle", "both", "closed", "night", "done", "bad"),
        *("both/0/in", "both/1/each", "both/1/each/*/in"),
    ]
    assert {node["label"] for node in told["nodes"]} == {
        "",
        "command fan-on, log · 3 attempts · within 90s",
        "wait 5m",
        "wait for door.closed",
        "wait until 2026-12-24 18:00:00Z",
        "fail: too_warm",
        "2 branches at once",
        "for each of rooms",
        "log",
    }
    assert nodes["both/1/each/*/in"] == {
        "id": "both/1/each/*/in",
        "name": "in",
        "type": "task",
        "label": "log",
        "parent": "both/1/each",
        "branch": 0,
        "is_initial": True,
        "place": "states.both.branches[1].states.each.iterator.states.in",
    }
    assert told["triggers"] == (
        "hot where t ≥ 80",
        "30 2 * * * (Europe/Berlin)",
        "a device is offline",
        "a message on site/+/alarm",
        "who asks for it",
    )
    ways = {(edge["source"], edge["target"]): edge for edge in told["edges"]}
    assert ways["both", "closed"]["condition"] == "(data.n > 2.0 and n ≤ 8) or not 1 ≤ n ≤ 2"
    assert ways["both", "closed"]["place"] == "states.both.transitions[0]"
    assert ways["cool", "bad"]["kind"] == "error"
    assert ways[None, "bad"]["kind"] == "handler"
    assert json.loads(json.dumps(told))["version"] == "1.2.0"


def test_the_diagram_nests_what_is_within():
    assert mermaid(graph(parse(DOCUMENT))).splitlines() == [
        "stateDiagram-v2",
        '  state "cool (command fan-on, log · 3 attempts · within 90s)" as s0',
        "  [*] --> s0",
        "  s0 --> s1",
        "  s0 --> s6: on error failure.kind = #34;timeout#34;",
        '  state "settle (wait 5m)" as s1',
        "  s1 --> s2",
        '  state "both (2 branches at once)" as s2 {',
        '    state "in (log)" as s7',
        "    [*] --> s7",
        "    s7 --> [*]",
        "    --",
        '    state "each (for each of rooms)" as s8 {',
        '      state "in (log)" as s9',
        "      [*] --> s9",
        "      s9 --> [*]",
        "    }",
        "    [*] --> s8",
        "    s8 --> [*]",
        "  }",
        "  s2 --> s3: (data.n #62; 2.0 and n ≤ 8) or not 1 ≤ n ≤ 2",
        "  s2 --> s5",
        '  state "closed (wait for door.closed)" as s3',
        "  s3 --> s4",
        '  state "night (wait until 2026-12-24 18#58;00#58;00Z)" as s4',
        "  s4 --> s5",
        '  state "done" as s5',
        "  s5 --> [*]",
        '  state "bad (fail#58; too_warm)" as s6',
        "  s6 --> [*]",
        "  note left of s0: hot where t ≥ 80",
        "  note left of s0: 30 2 * * * (Europe/Berlin)",
        "  note left of s0: a device is offline",
        "  note left of s0: a message on site/+/alarm",
        "  note left of s0: who asks for it",
        "  note right of s6: after any other failure",
        "  classDef failed stroke:#c00",
        "  class s6 failed",
    ]


def test_the_drawing_shows_where_each_state_leads():
    assert drawing(graph(parse(DOCUMENT))).splitlines() == [
        "Cool it 1.2.0",
        "  starts by hot where t ≥ 80",
        "  starts by 30 2 * * * (Europe/Berlin)",
        "  starts by a device is offline",
        "  starts by a message on site/+/alarm",
        "  starts by who asks for it",
        "  after any other failure → bad",
        "▶ cool  command fan-on, log · 3 attempts · within 90s",
        "    → settle",
        '    on error failure.kind = "timeout" → bad',
        "• settle  wait 5m",
        "    → both",
        "• both  2 branches at once",
        "    ┌ branch 1",
        "    │ ▶ in  log",
        "    └",
        "    ┌ branch 2",
        "    │ ▶ each  for each of rooms",
        "    │     ┌",
        "    │     │ ▶ in  log",
        "    │     └",
        "    └",
        "    (data.n > 2.0 and n ≤ 8) or not 1 ≤ n ≤ 2 → closed",
        "    → done",
        "• closed  wait for door.closed",
        "    → night",
        "• night  wait until 2026-12-24 18:00:00Z",
        "    → done",
        "✓ done  succeed",
        "✗ bad  fail: too_warm",
    ]


def test_a_state_in_an_iterator_has_one_node_for_all_items():
    drawn = graph(parse(DOCUMENT))
    ids = {node.id for node in drawn.nodes}

    paths = (("cool",), ("both", 0, "in"), ("both", 1, "each", 17, "in"))
    assert [node_of(drawn, path) for path in paths] == ["cool", "both/0/in", "both/1/each/*/in"]
    assert {node_of(drawn, path) for path in paths} <= ids


LINE = re.compile(
    r'(state "[^":;<>{}\[\]%|\\\n]*(#\d+;[^":;<>{}\[\]%|\\\n]*)*" as s\d+( \{)?'
    r"|(s\d+|\[\*\]) --> (s\d+|\[\*\])(: .+)?|--|\}|note (left|right) of s\d+: .+|classDef failed .*|class s\d+ failed)"
)


@settings(max_examples=12, deadline=None)
@given(strategies.documents())
def test_every_workflow_has_a_graph_whose_ways_lead_to_its_states(told):
    found = graph(parse(told))

    ids = {node.id for node in found.nodes}
    assert len(ids) == len(found.nodes)
    assert {edge.target for edge in found.edges} | {edge.source for edge in found.edges} <= ids | {None}
    first, *lines = mermaid(found).splitlines()
    assert first == "stateDiagram-v2"
    assert [line for line in lines if not LINE.fullmatch(line.strip())] == []
    assert sum(line.endswith("{") for line in lines) == sum(line.strip() == "}" for line in lines)
    assert drawing(found).count("▶") == len({(node.parent, node.branch) for node in found.nodes})
