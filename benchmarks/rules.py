"""What rules cost: `rules.py [--seconds N] [--json]`.

Records of two metrics from a hundred devices go through the engine, nothing is stored and nothing is sent: with 1, 100
and 10,000 rules, each of them for one device or for all of a metric, and fired by one record in a hundred or fewer
(`events_per_s_N`); and with 100 rules whose conditions are all evaluated for each record, with what follows when they
change (`evaluations_per_s`). Beside it the same condition written by hand in Python, and in CEL. Seconds are those of
CPU time, since nothing here waits.

Then, for four fifths of the time, a gateway with one rule: from a record to the command, beside Node-RED and aiomqtt
(`commanding.py`).
"""

import argparse
import asyncio
import gc
import json
import platform
import statistics
import time
from collections.abc import Callable

import cel
import commanding

from fieldloom_engine.rules import TELEMETRY, Engine, Event, RuleSet, parse
from fieldloom_gateway.app import GC_AFTER

ROUNDS = 5
DEVICES = 100
BATCH = 1000
LAP = DEVICES * 100  # events until the readings begin anew
START = 1_790_000_000_000


def rule(name: str, *conditions: dict, **others) -> dict:
    when = {"and": [{"event_type": TELEMETRY}, *conditions]}
    return {"id": name, "when": when, "do": [{"raise_alarm": {"alarm": name}}], "fire": "on_change", **others}


def above(limit: float, metric: str = "temperature") -> dict:
    return {"property_range": {"property": metric, "min": limit}}


def fleet(count: int) -> RuleSet:
    """One rule for all, and the others each for one device or one rare metric."""
    told = [rule("overheat", above(99))]
    told += [rule(f"of-{n}", {"source_match": f"dev-{n}"}, above(99)) for n in range(1, count, 2)]
    told += [rule(f"metric-{n}", above(99, f"metric-{n}")) for n in range(2, count, 2)]
    return RuleSet(map(parse, told[:count]))


def for_all(count: int) -> RuleSet:
    """Rules that every record is held against."""
    return RuleSet(parse(rule(f"r-{n}", above(99 + n / 1000))) for n in range(count))


class Lane:
    """An engine, and records that go on."""

    def __init__(self, rules: RuleSet) -> None:
        self.engine = Engine(rules)
        self.at = 0

    def run(self, seconds: float) -> float:
        """Events/s; what makes them is not counted.

        In whole laps: a part of one may hold all that fires, or nothing.
        """
        done, took = 0, 0.0
        while took < seconds or done % LAP:
            events = [self._event() for _ in range(BATCH)]
            step, advance = self.engine.step, self.engine.advance
            began = time.process_time()
            for event in events:
                step(event, event.ts)
                advance(event.source, event.ts, event.ts)
            took += time.process_time() - began
            done += BATCH
        return done / took

    def _event(self) -> Event:
        self.at += 1
        data = {"temperature": self.at // DEVICES % (LAP // DEVICES) + 0.5, "humidity": self.at % 90 + 0.25}
        return Event(
            f"dev-{self.at % DEVICES}/7/{self.at}", TELEMETRY, f"dev-{self.at % DEVICES}", START + self.at, data
        )


def alone(judge: Callable[[Event], bool], seconds: float) -> float:
    """Evaluations/s of one condition by itself."""
    event = Event("dev-1/7/1", TELEMETRY, "dev-1", START, {"temperature": 50.5, "humidity": 10.25})
    done, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        for _ in range(BATCH):
            judge(event)
        done += BATCH
    return done / (time.process_time() - began)


def by_hand(event: Event) -> bool:
    return event.type == TELEMETRY and event.data.get("temperature", 0) >= 99


def by_cel() -> Callable[[Event], bool]:
    execute = cel.compile("type == 'device.telemetry' && data.temperature >= 99.0").execute
    return lambda event: execute({"type": event.type, "data": event.data})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=75.0, help="for all rounds together")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    arguments = parser.parse_args()
    share = arguments.seconds / 5 / ROUNDS / 6
    lanes = [Lane(fleet(1)), Lane(fleet(100)), Lane(fleet(10_000)), Lane(for_all(100))]
    expression = by_cel()
    gc.collect()  # as a gateway's start does; else a lane may pay for a look through the rules of all others
    gc.freeze()
    gc.set_threshold(GC_AFTER)
    runs = [
        *(lane.run for lane in lanes),
        lambda seconds: alone(by_hand, seconds),
        lambda seconds: alone(expression, seconds),
    ]
    rounds = [[run(share) for run in runs] for _ in range(ROUNDS)]
    one, hundred, ten_thousand, all_of_hundred, hand, in_cel = (
        round(statistics.median(column)) for column in zip(*rounds, strict=True)
    )
    figures = {
        "events_per_s_1": one,
        "events_per_s_100": hundred,
        "events_per_s_10000": ten_thousand,
        "evaluations_per_s": all_of_hundred * 100,
    }
    at_work = commanding.compared(asyncio.run(commanding.measure(arguments.seconds * 4 / 5)))
    figures |= at_work["figures"]
    if not arguments.json:
        print(", ".join(f"{name} {value:,}" for name, value in figures.items()))
    result = {
        "name": "rules",
        "figures": figures,
        "peers": {
            "by_hand": {"evaluations_per_s": hand},
            "cel": {"evaluations_per_s": in_cel},
            **at_work["peers"],
        },
        "ratios": {
            "evaluations_per_s_vs_by_hand": round(figures["evaluations_per_s"] / hand, 2),
            "evaluations_per_s_vs_cel": round(figures["evaluations_per_s"] / in_cel, 1),
            "events_per_s_10000_vs_1": round(ten_thousand / one, 2),
            **at_work["ratios"],
        },
        "machine": f"{platform.machine()} Python {platform.python_version()}",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
