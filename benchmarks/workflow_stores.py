"""Workflows with their checkpoints on a disk, for `workflows.py`: ours on SQLite and PostgreSQL, and DBOS on SQLite.

All run the same: 200 workflows of five steps at a time, each step a call that returns at once. Ours does a step's call
in the transaction of its checkpoint, several instances a commit; in the lane `answered` each outcome comes behind the
commit, as a device's does, so that a step is two transactions. Beside them rows of the size of a checkpoint, a commit
each, in SQLite with `synchronous=FULL`.
"""

import asyncio
import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fieldloom_cloud.database import Database, migrate
from fieldloom_cloud.workflows import happenings, performing, service, starts
from fieldloom_cloud.workflows.checking import checked
from fieldloom_cloud.workflows.happenings import Told
from fieldloom_cloud.workflows.performing import Outcome, Waits, Wanted
from fieldloom_cloud.workflows.starts import Wish
from fieldloom_cloud.workflows.worker import WorkflowWorker, clock
from fieldloom_engine.workflows import Answered
from fieldloom_engine.workflows.model import OnApi, Trigger
from fieldloom_engine.workflows.triggers import Start
from fixtures.postgresql import PostgreSql

ROUNDS = 3
AT_ONCE = 200
STEPS = 5
DBOS = "3.4.0"
VENV = Path(__file__).parents[1] / ".cache" / "dbos"
UV = Path(__file__).parents[1] / "scripts" / "uv"

DBOS_SCRIPT = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from dbos import DBOS, DBOSConfig
path, seconds = sys.argv[1], float(sys.argv[2])
DBOS(config=DBOSConfig(name="steps", system_database_url="sqlite:///" + path, log_level="ERROR"))
@DBOS.step()
def step(number):
    return number
@DBOS.workflow()
def flow():
    for number in range(5):
        step(number)
DBOS.launch()
flow()
done, began = 0, time.monotonic()
while time.monotonic() - began < seconds:
    if sys.argv[3] == "1":
        flow()
        done += 1
    else:
        for handle in [DBOS.start_workflow(flow) for _ in range(200)]:
            handle.get_result()
        done += 200
print(done * 5 / (time.monotonic() - began), flush=True)
DBOS.destroy()
"""

FLOW = {
    "id": "steps",
    "initial_state": "step-0",
    "states": {
        f"step-{number}": {
            "type": "task",
            "actions": [{"latest": {"device_id": "pump-1", "metric": "temperature"}}],
            **({"transitions": [{"target": f"step-{number + 1}"}]} if number + 1 < STEPS else {}),
        }
        for number in range(STEPS)
    },
}
SLEEP = {
    "id": "sleep",
    "variables": [{"name": "pause", "default": "1h"}],
    "initial_state": "rest",
    "states": {"rest": {"type": "wait", "for": "{{ pause }}"}},
}


async def done_at_once(_session: AsyncSession, wanted: Wanted, _now: int) -> Outcome:
    return Answered(wanted.id, True, wanted.created)


class Store:
    """A database with workflows in it."""

    def __init__(self, where: Path | str, *, answers_later: bool = False) -> None:
        migrate(where)
        self.database = Database(where)
        self.asked: list[Told] = []
        self.worker = WorkflowWorker(self.database, {}, perform=self._ask if answers_later else done_at_once)
        self.workflows = {told["id"]: checked(told) for told in (FLOW, SLEEP)}
        self.number = 0

    async def open(self) -> "Store":
        async with self.database.transaction() as session:
            for workflow in self.workflows.values():
                await service.deploy(session, workflow, None)
        return self

    async def start(self, workflow: str, count: int, variables: dict[str, Any] | None = None) -> None:
        wishes = []
        for _ in range(count):
            self.number += 1
            told = (f"{workflow}-{self.number}", self.workflows[workflow], Trigger(on=OnApi()), variables or {}, None)
            wishes.append(Wish(Start(*told)))
        async with self.database.transaction() as session:
            await starts.begin(session, wishes, clock())

    async def steps(self, seconds: float) -> float:
        """Transitions/s of workflows from their start to their end."""
        done, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            await self.start("steps", AT_ONCE)
            while (counts := await self.worker.step())["instances"] or self.asked:
                done += counts["transitions"]
                await self._answer()
        return done / (time.monotonic() - began)

    async def _ask(self, _session: AsyncSession, wanted: Wanted, _now: int) -> Outcome:
        self.asked.append(Told(wanted.instance, Answered(wanted.id, True, wanted.created)))
        return Waits(performing.SENT, performing.NEVER)

    async def _answer(self) -> None:
        """Tell all outcomes in one transaction, as those are that a gateway brings."""
        async with self.database.transaction() as session:
            await happenings.tell(session, self.asked)
        self.asked = []


async def waiting(store: Store, count: int) -> dict[str, float]:
    """Let many instances wait: by how much the process grows, and how late those wake up that are due meanwhile."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(count // 1000):
        await store.start("sleep", 1000)
        while (await store.worker.step())["instances"]:
            pass
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    late = []
    running = asyncio.create_task(store.worker.run(), name="worker")
    for _ in range(20):
        due = clock() + 300
        before_steps = store.worker.counts["ended"]
        await store.start("sleep", 1, {"pause": "300ms"})
        store.worker.wake()
        while store.worker.counts["ended"] == before_steps:
            await asyncio.sleep(0.001)
        late.append(clock() - due)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return {
        "waiting_memory_mb": round(grown / 1024, 1),
        "wake_up_ms_p50": statistics.median(late),
        "wake_up_ms_max": max(late),
    }


def commit_rate(path: Path, seconds: float) -> float:
    """Commits/s of a row of 500 bytes each, as durable as ours."""
    connection = sqlite3.connect(path)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE step (number INTEGER PRIMARY KEY, told BLOB)")
    done, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        connection.execute("INSERT INTO step (told) VALUES (?)", (b"x" * 500,))
        connection.commit()
        done += 1
    connection.close()
    return done / (time.monotonic() - began)


def install() -> None:
    """Have DBOS in an environment of its own."""
    if (VENV / "bin" / "python").exists():
        return
    subprocess.run([UV, "venv", "--quiet", VENV], check=True, stdout=sys.stderr)
    python = VENV / "bin" / "python"
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", python, f"dbos=={DBOS}"], check=True, stdout=sys.stderr
    )


def dbos(path: Path, seconds: float, at_once: int) -> float:
    """Steps/s of DBOS on SQLite."""
    command = [VENV / "bin" / "python", "-c", DBOS_SCRIPT, str(path), str(seconds), str(at_once)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=path.parent)
    return float(done.stdout.split()[-1])


async def measure(seconds: float, count: int) -> dict[str, dict[str, float]]:
    """Return figures, peers and ratios; `count` instances wait."""
    share = seconds / ROUNDS / 6
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        here = Path(folder)
        server = PostgreSql(is_durable=True).start()
        running.callback(server.stop)
        stores = {
            "transitions_per_s_sqlite": await Store(here / "sqlite.db").open(),
            "transitions_per_s_sqlite_answered": await Store(here / "answered.db", answers_later=True).open(),
            "transitions_per_s_postgresql": await Store(server.create("workflows")).open(),
        }
        rounds: list[dict[str, float]] = []
        for number in range(ROUNDS):
            told = {name: await store.steps(share) for name, store in stores.items()}
            told["commits_per_s_sqlite"] = commit_rate(here / f"raw-{number}.db", share)
            told["dbos_steps_per_s_one_by_one"] = dbos(here / f"one-{number}.db", share, 1)
            told["dbos_steps_per_s_at_once"] = dbos(here / f"many-{number}.db", share, AT_ONCE)
            rounds.append(told)
            print(json.dumps({name: round(value) for name, value in told.items()}), file=sys.stderr)
        middle = {name: round(statistics.median(one[name] for one in rounds)) for name in rounds[0]}
        waits = await waiting(stores["transitions_per_s_sqlite"], count)
        for store in stores.values():
            await store.database.close()
    ours = {name: middle[name] for name in stores}
    best = max(middle["dbos_steps_per_s_one_by_one"], middle["dbos_steps_per_s_at_once"])
    main = ours["transitions_per_s_sqlite"]
    return {
        "figures": {**ours, "workflows_per_s_sqlite": round(main / STEPS), **waits},
        "peers": {name: value for name, value in middle.items() if name not in ours},
        "ratios": {
            "transitions_per_s_sqlite_vs_dbos": round(main / best, 2),
            "transitions_per_s_sqlite_answered_vs_dbos": round(ours["transitions_per_s_sqlite_answered"] / best, 2),
            "transitions_per_s_sqlite_vs_commit_rate": round(main / middle["commits_per_s_sqlite"], 2),
        },
    }
