"""Random workflows, well-formed by construction: ways lead forward, and back only from a wait, three times at most.

What actions give decides which way is taken: conditions look at `result.value`, a number from 0 to 9.
"""

from hypothesis import strategies as st

EVENTS = ("door.closed", "level.low")
"""The types of events that waits are for."""
VARIABLES = (
    {"name": "device_id", "type": "string"},
    {"name": "n", "type": "number", "default": 4},
    {"name": "flag", "type": "boolean", "default": True},
    {"name": "label", "type": "string", "description": "No value at first."},
    {"name": "rooms", "type": "array", "default": ["hall", "attic", "cellar"]},
    {"name": "rounds", "type": "integer", "default": 0},
)

numbers = st.integers(0, 9)
durations = st.sampled_from(["10ms", "1s", "2.5s", "1m", 3])
actions = st.sampled_from(
    [
        {"log": {"message": "at {{ n }}", "level": "info"}},
        {"latest": {"metric": "temperature"}},
        {"command": {"type": "cool", "parameters": {"to": "{{ n }}", "of": "{{ workflow.id }}"}}},
        {"command": {"device_id": "fan-1", "type": "off"}},
        {"publish": {"topic": "site/{{ device_id }}", "payload": {"flag": "{{ flag }}", "at": "{{ now }}"}}},
        {"raise_alarm": {"alarm": "warm"}},
    ]
)
conditions = st.recursive(
    st.one_of(
        st.builds(lambda low: {"property_range": {"property": "result.value", "min": low}}, numbers),
        st.builds(lambda high: {"property_range": {"property": "n", "max": high}}, numbers),
        st.builds(lambda flag: {"property_equals": {"property": "flag", "value": flag}}, st.booleans()),
    ),
    lambda part: st.one_of(
        st.builds(lambda parts: {"and": parts}, st.lists(part, min_size=1, max_size=2)),
        st.builds(lambda parts: {"or": parts}, st.lists(part, min_size=1, max_size=2)),
        st.builds(lambda one: {"not": one}, part),
    ),
    max_leaves=3,
)
errors = st.sampled_from(["timeout", "action_failed", "branch_failed"]).map(
    lambda kind: {"property_equals": {"property": "failure.kind", "value": kind}}
)
retries = st.fixed_dictionaries(
    {"max_attempts": st.integers(1, 3)},
    optional={
        "delay": st.sampled_from(["500ms", "1s"]),
        "multiplier": st.sampled_from([1, 2, 1.5]),
        "max_delay": st.just("2s"),
        "jitter": st.sampled_from([0, 0.5, 1]),
    },
)
assigned = st.fixed_dictionaries(
    {},
    optional={
        "n": st.sampled_from([3, "{{ n + 1 }}", "{{ result.value | default(7) }}"]),
        "flag": st.booleans(),
        "label": st.sampled_from(["last", "{{ n }} of {{ rooms | length }}"]),
    },
)
triggers = st.lists(
    st.one_of(
        st.just({"event": {"type": "device.telemetry"}, "condition": {"property_range": {"property": "t", "min": 80}}}),
        st.builds(
            lambda overlap: {"event": {"type": "door.opened"}, "overlap": overlap},
            st.sampled_from(["allow", "skip", "queue", "replace"]),
        ),
        st.just({"device_state": {"state": "offline"}, "variables": {"label": "gone", "n": 1}}),
        st.just({"event": {"type": "order"}, "correlation": "{{ event.data.order }}"}),
    ),
    max_size=3,
)


@st.composite
def flows(draw, depth=0):
    """Draw a flow; those within it are at most two deep."""
    count = draw(st.integers(1, 4 if depth == 0 else 2))
    states = {f"s{at}": draw(_state(at, count, depth)) for at in range(count - 1)}
    states[f"s{count - 1}"] = draw(_last())
    return {"initial_state": "s0", "states": states}


@st.composite
def documents(draw):
    """Draw a workflow's document."""
    document = {
        "id": draw(st.sampled_from(["w", "cool-down", "a_1"])),
        "version": draw(st.sampled_from(["1.0.0", "1.2.10"])),
        "placement": draw(st.sampled_from(["edge", "cloud"])),
        "triggers": draw(triggers),
        "variables": list(VARIABLES),
        **draw(flows()),
    }
    return document | draw(
        st.fixed_dictionaries(
            {},
            optional={
                "name": st.just("Cools down"),
                "description": st.just("As its name says."),
                "metadata": st.just({"owner": "ops", "pages": [1, 2.5, None]}),
                "error_handler": st.sampled_from(
                    [
                        {"action": {"notification": {"recipient": "ops", "message": "{{ error }}"}}},
                        {"result_state": "succeeded"},
                        {
                            "action": {"log": {"message": "{{ failure.kind }}"}},
                            "result_state": list(document["states"])[-1],
                        },
                    ]
                ),
            },
        )
    )


def _common(targets):
    forward = st.sampled_from(targets)
    caught = st.builds(lambda target, condition: {"target": target, "condition": condition}, forward, errors)
    return {
        "on_error": st.lists(caught, max_size=1)
        | st.lists(st.builds(lambda target: {"target": target}, forward), max_size=1),
        "timeout": st.sampled_from(["2s", "10m"]),
        "retry": retries,
        "assign": assigned,
    }


@st.composite
def _state(draw, at, count, depth):
    """Draw a state that leads to the next one, and maybe to others ahead."""
    targets = [f"s{ahead}" for ahead in range(at + 1, count)]
    ways = st.builds(
        lambda target, condition: {"target": target, "condition": condition}, st.sampled_from(targets), conditions
    )
    type_ = draw(
        st.sampled_from(["task", "task", "choice", "wait", "wait", *(["parallel", "map"] if depth < 2 else [])])
    )
    state = {"type": type_, **draw(OWN[type_](depth))}
    state |= draw(st.fixed_dictionaries({}, optional=_common(targets)))
    if type_ in {"task", "parallel", "map"}:
        state |= draw(st.fixed_dictionaries({}, optional={"compensate": st.lists(actions, max_size=2)}))
    state["transitions"] = [*draw(st.lists(ways, max_size=1)), {"target": targets[0]}]
    if type_ == "wait" and draw(st.booleans()):
        state["assign"] = {"rounds": "{{ rounds + 1 }}"}
        back = {
            "target": f"s{draw(st.integers(0, at))}",
            "condition": {"property_range": {"property": "rounds", "max": 3}},
        }
        state["transitions"].insert(0, back)
    return state


def _task(_depth):
    return st.fixed_dictionaries({"actions": st.lists(actions, min_size=1, max_size=3)})


def _choice(_depth):
    return st.just({})


def _wait(_depth):
    events = st.fixed_dictionaries(
        {"type": st.sampled_from(EVENTS)},
        optional={"condition": st.just({"property_range": {"property": "level", "min": 3}})},
    )
    return st.one_of(
        st.builds(lambda length: {"for": length}, durations),
        st.sampled_from([{"for": "{{ n }}s"}, {"until": "{{ now + 1500 }}"}]),
        st.builds(lambda event: {"event": event}, events),
        st.just({"event": {"type": "level.low", "any_source": True}}),
        st.just({"event": {"type": "order", "correlation": {"property": "order", "value": "{{ n }}"}}}),
    )


def _parallel(depth):
    return st.builds(lambda branches: {"branches": branches}, st.lists(flows(depth + 1), min_size=1, max_size=3))


def _map(depth):
    return st.fixed_dictionaries(
        {"items": st.just("rooms"), "iterator": flows(depth + 1)},
        optional={
            "item_variable": st.just("room"),
            "max_concurrency": st.integers(1, 3),
            "tolerated_failures": st.integers(0, 2),
        },
    )


def _last():
    return st.one_of(
        st.just({"type": "succeed"}),
        st.sampled_from([{"type": "succeed", "output": {"n": "{{ n }}"}}, {"type": "fail", "error": "given_up"}]),
        st.just({"type": "fail", "error": "too_warm", "message": "{{ n }} °C", "actions": [{"log": {"message": "!"}}]}),
        st.builds(lambda some: {"type": "task", "actions": some}, st.lists(actions, min_size=1, max_size=2)),
    )


OWN = {"task": _task, "choice": _choice, "wait": _wait, "parallel": _parallel, "map": _map}
"""What states of each type have beside what all have, by how deep they are."""
