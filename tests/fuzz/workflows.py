"""A workflow's file, with its templates, expressions, schedules and graph. (W1, W3)"""

from fieldloom_engine.workflows import InvalidWorkflow, parse, warnings
from fieldloom_engine.workflows.graph import graph
from fieldloom_engine.workflows.pictures import drawing, mermaid
from fieldloom_runtime.definitions import Unreadable, read
from fuzz.target import Target

WORKFLOW = b"""id: w
devices: {type: pump}
triggers:
  - event: {type: hot}
    condition: {or: [{property_equals: {property: a.b, value: true}}, {cel: "data.t > 2.0"}, {source_match: "p-.*"}]}
    correlation: "{{ event.data.n }}"
  - schedule: {cron: "*/5 2 * * MON", timezone: Europe/Berlin, missed: all}
  - message: {topic: site/+/#}
  - device_state: {state: offline}
variables:
  - {name: rooms, type: array, default: [1, "b"]}
  - {name: n, type: number, default: 2.5}
initial_state: a
states:
  a:
    type: map
    items: rooms
    iterator: {initial_state: b, states: {b: {type: task, actions: [{log: {message: "{{ item.x | round(2) }}"}}]}}}
    retry: {max_attempts: 3, delay: 250ms, multiplier: 1.5, jitter: 1}
    on_error: [{target: f, condition: {property_range: {property: n, min: 1}}}]
    transitions: [{target: c}]
  c: {type: wait, for: 5m, assign: {n: "{{ n + 1 }}"}, transitions: [{target: p}]}
  p:
    type: parallel
    branches: [{initial_state: u, states: {u: {type: wait, until: 2026-12-24T18:00:00Z}}}]
    transitions: [{target: c, condition: {not: {cel: "data.n > 3.0"}}}, {target: d}]
  d: {type: succeed, output: {n: "{{ n }}"}}
  f: {type: fail, error: bad, message: "{{ error }}"}
error_handler: {action: {publish: {topic: "t/{{ n }}", payload: {a: null}}}, result_state: d}
"""


def parse_file(data: bytes) -> object:
    workflow = parse(read(data.decode(errors="replace")).value)
    found = graph(workflow)
    return warnings(workflow), mermaid(found), drawing(found)


TARGET = Target(
    parse_file,
    [WORKFLOW, b"id: w\ninitial_state: a\nstates: {a: {type: wait, event: {type: b}}}\n"],
    (Unreadable, InvalidWorkflow),
    [
        b"id: w\nmetadata: {a: !!binary YQ==}",
        b"id: w\nmetadata: {a: 2026-12-24}",
        b"id: w\nstates: {a: {type: [b]}}",
    ],
)
