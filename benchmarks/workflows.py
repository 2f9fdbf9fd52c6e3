"""What workflows cost: `workflows.py [--seconds N] [--waiting N] [--json]`, or `--setup` alone.

A thousand instances of a cooling workflow go on in memory, each from the outcome of an action or a deadline to the next
wait, nothing is stored and nothing is sent. A transition is a state that is entered: two tasks, a choice, a wait and an
end a run (`transitions_per_s`). Beside it the same with each instance read from its checkpoint and written to one
(`transitions_per_s_checkpointed`), and branches: a map over ten items of a task each (`transitions_per_s_map`). Seconds
are those of CPU time, since nothing here waits. Then the same workflow at a gateway, see `edge_workflows`: each step is
on the disk before its effects (`edge_transitions_per_s`), beside plain writes of the map that has the checkpoints.

Then the same through the cloud's worker on disks, beside DBOS and beside bare commits: `workflow_stores.py`.
"""

import argparse
import asyncio
import json
import platform
import statistics
import time
from collections import deque
from collections.abc import Callable

import edge_workflows
import workflow_stores

from fieldloom_engine.workflows import (
    Answered,
    Happening,
    Instance,
    Program,
    Started,
    TimePassed,
    create,
    decode,
    encode,
    next_deadline,
    parse,
    step,
)

ROUNDS = 5
BATCH = 1000
START = 1_790_000_000_000

COOLING = {
    "id": "cooling",
    "variables": [{"name": "device_id", "type": "string"}, {"name": "limit", "type": "number", "default": 80}],
    "initial_state": "cool",
    "states": {
        "cool": {
            "type": "task",
            "actions": [{"command": {"type": "cooling", "parameters": {"mode": "max"}}}],
            "retry": {"max_attempts": 3, "delay": "5s", "multiplier": 2},
            "timeout": "60s",
            "transitions": [{"target": "settle"}],
        },
        "settle": {"type": "wait", "for": "5m", "transitions": [{"target": "check"}]},
        "check": {
            "type": "task",
            "actions": [{"latest": {"device_id": "{{ device_id }}", "metric": "temperature"}}],
            "transitions": [{"target": "judge"}],
        },
        "judge": {
            "type": "choice",
            "transitions": [
                {"target": "cool", "condition": {"property_range": {"property": "result.value", "min": 80}}},
                {"target": "done"},
            ],
        },
        "done": {"type": "succeed"},
    },
}
ROUND = {
    "id": "round",
    "variables": [{"name": "items", "default": [*range(10)]}],
    "initial_state": "each",
    "states": {
        "each": {
            "type": "map",
            "items": "items",
            "iterator": {
                "initial_state": "ask",
                "states": {"ask": {"type": "task", "actions": [{"log": {"message": "asked"}}]}},
            },
        }
    },
}
VARIABLES = {"device_id": "pump-1", "event": {"id": "e", "type": "device.telemetry", "source": "pump-1"}}

Keep = Callable[[Instance], Instance]


class Lane:
    """Instances of a workflow that are run to their ends."""

    def __init__(self, document: dict, variables: dict, keep: Keep = lambda instance: instance) -> None:
        self.program, self.keep, self.variables = Program(parse(document)), keep, variables
        self.number = 0

    def run(self, seconds: float) -> float:
        """Transitions/s."""
        entered, took = 0, 0.0
        while took < seconds:
            began = time.process_time()
            for _ in range(BATCH // 10):
                entered += self._through()
            took += time.process_time() - began
        return entered / took

    def _through(self) -> int:
        """Run one instance to its end, and return how many states it was in."""
        self.number += 1
        now = START
        instance = create(self.program.workflow, f"i{self.number}", self.variables, now)
        done, asked, records = step(self.program, instance, Started(), now), deque(), 0
        while True:
            asked += done.effects
            records += len(done.history)
            instance = self.keep(done.instance)
            if instance.is_over:
                return records - 2  # its start and its end
            if asked:
                now += 1000
                happening: Happening = Answered(asked.popleft().id, True, {"value": 75.5})
            else:
                now = next_deadline(instance) or now
                happening = TimePassed()
            done = step(self.program, instance, happening, now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all rounds together")
    parser.add_argument("--waiting", type=int, default=100_000, help="so many instances wait in SQLite")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    parser.add_argument("--setup", action="store_true", help="install DBOS in an environment of its own, and end")
    arguments = parser.parse_args()
    workflow_stores.install()
    if arguments.setup:
        return
    lanes = {
        "transitions_per_s": Lane(COOLING, VARIABLES),
        "transitions_per_s_checkpointed": Lane(COOLING, VARIABLES, lambda instance: decode(encode(instance))),
        "transitions_per_s_map": Lane(ROUND, {}),
    }
    share = arguments.seconds / 4 / ROUNDS / len(lanes)
    rounds = [{name: lane.run(share) for name, lane in lanes.items()} for _ in range(ROUNDS)]
    figures: dict[str, float] = {name: round(statistics.median(one[name] for one in rounds)) for name in lanes}
    edge = edge_workflows.measure(COOLING, arguments.seconds / 4)
    figures |= {name: round(value) for name, value in edge.items()}
    stored = asyncio.run(workflow_stores.measure(arguments.seconds / 2, arguments.waiting))
    figures |= stored["figures"]
    ratio = round(edge["edge_transitions_per_s"] / edge["edge_writes_per_s"], 2)
    ratios = {"edge_transitions_per_s_vs_edge_writes_per_s": ratio, **stored["ratios"]}
    if not arguments.json:
        for name, value in {**figures, **ratios}.items():
            print(f"{name:44} {value:>9,}")
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    told = {"figures": figures, "peers": stored["peers"], "ratios": ratios, "machine": machine}
    print(json.dumps({"name": "workflows", **told}))


if __name__ == "__main__":
    main()
