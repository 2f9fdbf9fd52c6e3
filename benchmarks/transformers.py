"""What a chain costs the gateway's store: `transformers.py [--seconds N] [--json]`.

Messages of ten records with two metrics go into the real store on a real disk, in groups of a hundred, acknowledged
after each commit: without a definition, and with a chain of four stages (clean, convert, deadband, tags) for both
metrics. `pass_through` is the hot path as it was; `chain_alone` is the engine without a store.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

from fieldloom_engine.transformers.reading import Device
from fieldloom_engine.transformers.window import Windows
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.store import Arrival, Store
from fieldloom_gateway.transformers import compile_text

ROUNDS = 5
MESSAGES, RECORDS = 100, 10  # of a group, of a message
TOPIC = "fl/v1/d/dev-1/telemetry"
CHAIN = """
chains:
  - id: climate
    stages:
      - clean: {min: -40, max: 125, outliers: last, missing: skip}
      - convert: {scale: 1.8, offset: 32}
      - deadband: {change: 0.001}
      - tags: {floor: "2"}
"""


class Lane:
    """A store of its own, with or without chains, and the numbers of its device."""

    def __init__(self, folder: Path, text: str) -> None:
        folder.mkdir()
        self.store = Store(open_database(folder), 2**40)
        self.store.use_chains(compile_text(text), text, 0)
        self.seq = 0

    def run(self, seconds: float) -> float:
        """Records/s, durable; what makes the messages is not counted."""
        done, took = 0, 0.0
        while took < seconds:
            group = [self._message() for _ in range(MESSAGES)]
            began = time.perf_counter()
            self.store.take(group, 1_790_000_000_000)
            took += time.perf_counter() - began
            done += MESSAGES * RECORDS
        self.store.trim(2**53)
        return done / took

    def _message(self) -> Arrival:
        return Arrival("dev-1", "telemetry", b"[" + b",".join(self._record() for _ in range(RECORDS)) + b"]", TOPIC)

    def _record(self) -> bytes:
        self.seq += 1
        told = b'{"boot":7,"seq":%d,"ts":%d,"values":{"temperature":%d.5,"humidity":%d.25}}'
        return told % (self.seq, 1_780_000_000_000 + self.seq, self.seq % 50, self.seq % 90)


def chain_alone(seconds: float) -> float:
    """Records/s through the engine's chain."""
    chains, device, windows = compile_text(CHAIN), Device("dev-1"), Windows()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for at in range(1000):
            values = {"temperature": at % 50 + 0.5, "humidity": at % 90 + 0.25}
            chains.transform(device, at, values, windows, now=0, in_order=True)
        done += 1000
    return done / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="for all rounds together")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    arguments = parser.parse_args()
    share = arguments.seconds / ROUNDS / 3
    with tempfile.TemporaryDirectory() as folder:
        lanes = [Lane(Path(folder) / name, text) for name, text in (("plain", ""), ("chain", CHAIN))]
        runs = [*(lane.run for lane in lanes), chain_alone]
        figures = [[run(share) for run in runs] for _ in range(ROUNDS)]
    plain, chain, alone = (round(statistics.median(column)) for column in zip(*figures, strict=True))
    if not arguments.json:
        print(f"{chain:,} records/s with a chain of 4 stages, {plain:,} without, {alone:,} by the engine alone")
    result = {
        "name": "transformers",
        "figures": {"records_per_s": chain, "chain_alone_records_per_s": alone},
        "peers": {"pass_through": {"records_per_s": plain}},
        "ratios": {"records_per_s_vs_pass_through": round(chain / plain, 3)},
        "machine": f"{platform.machine()} Python {platform.python_version()}",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
