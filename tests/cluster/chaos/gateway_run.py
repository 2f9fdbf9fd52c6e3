"""The real `fieldloom gateway run` with clients of its map in it: `gateway_run.py TOLD ARGUMENT...`, TOLD being JSON.

Logs are compacted early, so that members come to snapshots in a short test. The clock of the day is as many seconds off
as the file `clock` says: under libfaketime CPython's sleep fails. `faults` are saboteurs (`saboteurs.py`).
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

told = json.loads(sys.argv.pop(1))


def clock_steps(path: Path) -> None:
    seconds, nanoseconds = time.time, time.time_ns

    def off() -> int:
        return int(path.read_text()) if path.exists() else 0

    time.time = lambda: seconds() + off()
    time.time_ns = lambda: nanoseconds() + off() * 10**9


clock_steps(Path(told["clock"]))  # before anybody has taken these functions by their names

from cluster.chaos.clients import Clients
from cluster.chaos.saboteurs import SABOTEURS
from fieldloom_cli.main import main
from fieldloom_gateway import app
from fieldloom_gateway.cluster.consensus import raft
from fieldloom_gateway.cluster.node import Node


class Visited(Node):
    """A node with clients, for as long as it takes part."""

    async def run(self) -> None:
        async with Clients(self, told):
            await super().run()


for fault in told["faults"]:
    SABOTEURS[fault]()
raft.COMPACT_ENTRIES, raft.KEEP_ENTRIES = told["compact"], told["compact"] // 4
app.Node = Visited
main()
