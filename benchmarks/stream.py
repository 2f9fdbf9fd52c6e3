"""How fast a record passes both halves of the stream, beside what JSON alone costs: `stream.py [--seconds N] [--json]`.

The limit is the JSON decoding that any receiver of these messages has to do.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

from fieldloom_contract import messages
from fieldloom_contract.receiver import Receiver
from fieldloom_contract.stream import Item, Sender

BATCH = 10
ROUNDS = 5


class Ring:
    """The smallest store that a sender accepts, always full."""

    def __init__(self) -> None:
        self.acknowledged = 0

    def peek(self, after, records, size):
        start = after[1] if after else self.acknowledged
        return [Item(7, start + step + 1, "telemetry", body(start + step + 1)) for step in range(min(records, BATCH))]

    def first(self, life):
        return self.acknowledged + 1

    def discard(self, life, seq):
        freed, self.acknowledged = seq - self.acknowledged, seq
        return freed


def body(seq: int) -> bytes:
    return b'{"boot":7,"seq":%d,"ts":1732380000123,"values":{"temperature":21.5,"humidity":40.25}}' % seq


def stream_round(seconds: float) -> float:
    """Records/s framed, parsed, checked, taken and acknowledged."""
    ring, receiver = Ring(), Receiver()
    sender = Sender(ring, lambda items, first: messages.frame([item.body for item in items], first), lambda: 0.0)
    sender.connected(0)
    done, now, began = 0, 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        now += 1
        message = sender.poll(now)
        records, _ = messages.parse_records("telemetry", message.payload)
        for record in records:
            done += receiver.take(record["boot"], record["seq"], record["first"])
        sender.acknowledge(7, receiver.acknowledged(7), now)
    return done / (time.perf_counter() - began)


def json_round(seconds: float) -> float:
    """Records/s that json.loads alone decodes from the same messages."""
    payload = messages.frame([body(seq) for seq in range(1, BATCH + 1)], 1)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        done += len(json.loads(payload))
    return done / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for all rounds together")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    arguments = parser.parse_args()
    share = arguments.seconds / ROUNDS / 2
    runs: dict[Callable[[float], float], list[float]] = {stream_round: [], json_round: []}
    for _ in range(ROUNDS):
        for run, figures in runs.items():
            figures.append(run(share))
    ours, limit = (round(statistics.median(figures)) for figures in runs.values())
    if not arguments.json:
        print(f"stream {ours:,} records/s, json.loads alone {limit:,} records/s")
    result = {
        "name": "stream",
        "figures": {"records_per_s": ours},
        "peers": {"json": {"records_per_s": limit}},
        "ratios": {"records_per_s_vs_json": round(ours / limit, 3)},
        "machine": f"{platform.machine()} Python {platform.python_version()}",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
