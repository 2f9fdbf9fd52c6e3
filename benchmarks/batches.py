"""What it costs to compress the batches of the uplink, and what it saves: `batches.py [--seconds N] [--json]`.

Records as a gateway sends those of the demo's boards (temperature and humidity once a second, twenty boards), in
batches of 128 KiB and of 4 KiB. The limit is the decoding of the same records, which the cloud has to do anyway; the
peers are other levels of zlib.
"""

import argparse
import json
import platform
import random
import statistics
import time
import zlib
from collections.abc import Callable

from fieldloom_contract import batch
from fieldloom_runtime import records
from fieldloom_runtime.compression import LEVEL, deflate, inflate
from fieldloom_runtime.records import Telemetry

BOARDS = 20
ROUNDS = 5
START = 1_790_000_000_000
SIZES = {"large": 128 * 1024, "small": 4 * 1024}
LEVELS = (6, 9)


def lines(size: int) -> list[bytes]:
    """Return so many bytes of records, of all boards in turn."""
    rng = random.Random(1)
    values = [[20 + board / 4, 40.0 + board] for board in range(BOARDS)]
    made: list[bytes] = []
    while sum(map(len, made)) < size:
        number, board = divmod(len(made), BOARDS)
        values[board] = [round(value + rng.gauss(0, 0.05), 2) for value in values[board]]
        told = dict(zip(("temperature", "humidity"), values[board], strict=True))
        at = START + number * 1000 + rng.randrange(900)
        made.append(records.encode(Telemetry(f"board-{board + 1}", at, at + 40, 1_000_007, number + 1, values=told)))
    return made


def microseconds(work: Callable[[], object], count: int, seconds: float) -> float:
    """Return the CPU time of a record: the median of some rounds."""
    figures = []
    for _ in range(ROUNDS):
        rounds, begun = 0, time.process_time()
        while time.process_time() - begun < seconds / ROUNDS:
            work()
            rounds += 1
        figures.append((time.process_time() - begun) / rounds / count * 1e6)
    return statistics.median(figures)


def measured(size: int, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    made = lines(size)
    plain = batch.pack(b"s" * 16, 1, 1, [], made)
    packed = batch.pack(b"s" * 16, 1, 1, [], made, deflate)
    body = b"[]" + b"\n".join(made)
    deflated = deflate(body)
    figures = {
        "bytes": len(plain) / len(made),
        "compressed_bytes": len(packed) / len(made),
        "deflate_us": microseconds(lambda: deflate(body), len(made), seconds),
        "inflate_us": microseconds(lambda: inflate(deflated, len(body)), len(made), seconds),
    }
    peers = {"decode_us": microseconds(lambda: [records.decode(line) for line in made], len(made), seconds)}
    for level in LEVELS:
        peers[f"level_{level}_bytes"] = len(zlib.compress(body, level)) / len(made)
        peers[f"level_{level}_us"] = microseconds(lambda level=level: zlib.compress(body, level), len(made), seconds)
    return figures, peers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of CPU time")
    parser.add_argument("--json", action="store_true", help="only the line of JSON")
    arguments = parser.parse_args()
    told: dict[str, dict[str, float]] = {"figures": {}, "peers": {}, "ratios": {}}
    for name, size in SIZES.items():
        figures, peers = measured(size, arguments.seconds / len(SIZES) / (3 + len(LEVELS)))
        told["figures"] |= {f"{name}_{what}": round(figure, 2) for what, figure in figures.items()}
        told["peers"] |= {f"{name}_{what}": round(figure, 2) for what, figure in peers.items()}
        told["ratios"][f"{name}_bytes_vs_plain"] = round(figures["compressed_bytes"] / figures["bytes"], 3)
        told["ratios"][f"{name}_deflate_us_vs_decode_us"] = round(figures["deflate_us"] / peers["decode_us"], 2)
    if not arguments.json:
        for part in told.values():
            for what, figure in part.items():
                print(f"{what:36}{figure:10}")
    machine = f"{platform.machine()}, zlib {zlib.ZLIB_RUNTIME_VERSION} level {LEVEL}"
    print(json.dumps({"name": "batches", **told, "machine": machine}))


if __name__ == "__main__":
    main()
