"""How well the detector of anomalies tells, beside river's half-space trees: `anomaly.py [--json]`.

`shuttle` has 49,097 labelled records of nine metrics, of which 7 % are anomalies: a record counts as told when the
detector of any of its metrics tells. `water_flow` has 1,268 hourly readings with no labels: one in fifty is moved by a
fifth of its level, and those are to be told. Both are data that river ships. The trees take all metrics of a record at
once, scaled; their limit is set so that they tell as many ordinary records wrongly as ours do, which nobody can do
beforehand. river brings scipy, so it is no dependency: the benchmark runs itself again where river is.
"""

import argparse
import csv
import gzip
import importlib.util
import json
import platform
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fieldloom_engine.rules.anomaly import LIMITS, anomaly
from fieldloom_engine.rules.conditions import Anomaly
from fieldloom_engine.rules.event import TELEMETRY, Event

RIVER = "river==0.26.1"
LEARN = 100
SCRIPT = Path(__file__).parents[1] / "scripts" / "uv"


class Record(NamedTuple):
    values: dict[str, float]
    is_anomaly: bool


def shuttle(folder: Path) -> list[Record]:
    with gzip.open(folder / "shuttle.csv.gz", "rt", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return [Record({name: row[name] for name in row if name != "anomaly"}, row["anomaly"] == 1) for row in rows]


def water_flow(folder: Path) -> list[Record]:
    draw = random.Random(7)
    with (folder / "water-flow.csv").open(newline="") as file:
        flows = [float(row["Water flow [l/s]"]) for row in csv.DictReader(file)]
    moved = [draw.random() < 0.02 and at > LEARN for at in range(len(flows))]
    ways = [draw.choice((0.8, 1.2)) for _ in flows]
    return [
        Record({"flow": flow * way if is_moved else flow}, is_moved)
        for flow, way, is_moved in zip(flows, ways, moved, strict=True)
    ]


def ours(records: Iterable[Record]) -> list[float]:
    """Return how far each record is from the limit of its worst metric, at medium sensitivity; above 1 it is told."""
    made: dict = {}
    scores = []
    for at, record in enumerate(records):
        event = Event(str(at), TELEMETRY, "a", at, record.values)
        worst = 0.0
        for name in record.values:
            if name not in made:
                test, remembering = anomaly(Anomaly(property=name, learn=LEARN), 0)
                made[name] = (test, remembering, [list(remembering.fresh)])
            test, remembering, memory = made[name]
            remembering.feed(event, memory[0])
            score = test.measures(event, memory, at)[f"{name}.score"]
            worst = max(worst, (score or 0.0) / LIMITS["medium"])
        scores.append(worst)
    return scores


def trees(records: Iterable[Record]) -> list[float]:
    from river import anomaly as others  # noqa: PLC0415 - found out before
    from river import preprocessing  # noqa: PLC0415

    scaler, model = preprocessing.MinMaxScaler(), others.HalfSpaceTrees(seed=7)
    scores = []
    for record in records:
        scaler.learn_one(record.values)
        scaled = scaler.transform_one(record.values)
        scores.append(model.score_one(scaled))
        model.learn_one(scaled)
    return scores


def rate(scores: list[float], records: list[Record], limit: float, of_anomalies: bool) -> float:
    """Return how many of the anomalies, or of the others, lie above a limit."""
    asked = [score for score, record in zip(scores, records, strict=True) if record.is_anomaly == of_anomalies]
    return sum(score > limit for score in asked) / len(asked)


def limit_for(scores: list[float], records: list[Record], wrong: float) -> float:
    """Return the limit above which this share of ordinary records lies."""
    ordinary = sorted(score for score, record in zip(scores, records, strict=True) if not record.is_anomaly)
    return ordinary[min(len(ordinary) - 1, round(len(ordinary) * (1 - wrong)))]


def area(scores: list[float], records: list[Record]) -> float:
    """Return the area under the ROC curve: how often an anomaly scores above another record."""
    ranked = sorted(zip(scores, (record.is_anomaly for record in records), strict=True))
    ranks, at = 0.0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        ranks += sum(flag for _, flag in ranked[at:end]) * (at + end + 1) / 2
        at = end
    anomalies = sum(record.is_anomaly for record in records)
    return (ranks - anomalies * (anomalies + 1) / 2) / (anomalies * (len(records) - anomalies))


def timed(judge, records: list[Record]) -> tuple[list[float], float]:
    began = time.process_time()
    scores = judge(records)
    return scores, (time.process_time() - began) / sum(len(record.values) for record in records) * 1e6


def compare() -> dict:
    import river  # noqa: PLC0415 - found out before

    folder = Path(river.__file__).parent / "datasets"
    figures, peers = {}, {}
    for name, records in (("shuttle", shuttle(folder)), ("water_flow", water_flow(folder))):
        judged = records[LEARN:]
        own, own_us = timed(ours, records)
        others, others_us = timed(trees, records)
        own, others = own[LEARN:], others[LEARN:]
        wrong = rate(own, judged, 1.0, of_anomalies=False)
        limit = limit_for(others, judged, wrong)
        figures |= {
            f"{name}_detected": round(rate(own, judged, 1.0, of_anomalies=True), 3),
            f"{name}_false": round(wrong, 4),
            f"{name}_area": round(area(own, judged), 3),
            f"{name}_us_a_value": round(own_us, 2),
        }
        peers |= {
            f"{name}_detected": round(rate(others, judged, limit, of_anomalies=True), 3),
            f"{name}_area": round(area(others, judged), 3),
            f"{name}_us_a_value": round(others_us, 2),
        }
    return {
        "name": "anomaly",
        "figures": figures,
        "peers": {"half_space_trees": peers},
        "ratios": {
            f"{name}_vs_half_space_trees": round(figures[name] / peers[name], 3) for name in peers if peers[name]
        },
        "machine": f"{platform.machine()} Python {platform.python_version()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    arguments = parser.parse_args()
    if importlib.util.find_spec("river") is None:
        again = [str(SCRIPT), "run", "--with", RIVER, "python", __file__, *sys.argv[1:]]
        raise SystemExit(subprocess.run(again, check=False).returncode)
    result = compare()
    if not arguments.json:
        for name, figure in result["figures"].items():
            print(f"{name:>24}  {figure:>9}  {result['peers']['half_space_trees'].get(name, '')}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
