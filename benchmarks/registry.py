"""How long the registry looks for devices: `registry.py [--devices N] [--rounds N] [--postgresql ADDRESS] [--json]`.

Each filter and each order alone, then some that people would put together, on a registry of 100,000 devices: the first
page of 100, from the call of the service to its answer. The goal is 50 ms. `least` is what a question takes when
nothing else runs, which a busy machine spoils least. In a SQLite file; its peer is PostgreSQL, if
the address of an empty database is given, as postgresql://USER@HOST/NAME.
"""

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import insert

from fieldloom_cloud.database import Database, migrate
from fieldloom_cloud.pages import Asked
from fieldloom_cloud.registry import search, statistics
from fieldloom_cloud.registry.models import Capability, Device, DeviceText, Site, Tag
from fieldloom_cloud.registry.search import SORTED_BY, DeviceQuery

START = datetime(2026, 1, 1, tzinfo=UTC)
SITES = tuple(f"site-{number}" for number in range(50))
TYPES = ("pump", "valve", "meter", "fan", "door", "gate", "lamp", "boiler")
MAKERS = ("Acme", "Umbrella", "Initech", "Globex", "Hooli")
AT_ONCE = 5000


def row(number: int, count: int) -> dict[str, Any]:
    moment = START + timedelta(minutes=number)
    name = f"Unit {number} hall {number % 90}"
    fields = {"id": f"dev-{number * 7919 % count:06}", "site": SITES[number % 50], "name": name}
    fields |= {"type": TYPES[number % 8], "manufacturer": MAKERS[number % 5], "model": f"M{number % 40}"}
    fields |= {"firmware": f"1.{number % 9}.0", "board": f"board-{number % 3}"}
    fields |= {"status": ("online", "offline")[number % 6 == 0]}
    fields |= {"capabilities": ["read", f"can-{number % 30}"], "version": 1, "created": moment, "updated": moment}
    return {**fields, "tags": {"floor": str(number % 20), "room": f"r{number % 400}"}}


async def fill(database: Database, count: int) -> None:
    async with database.transaction() as session:
        await session.execute(insert(Site), [{"id": site, "name": site, "created": START} for site in SITES])
    for begin in range(0, count, AT_ONCE):
        rows = [row(number, count) for number in range(begin, min(begin + AT_ONCE, count))]
        async with database.transaction() as session:
            await session.execute(insert(Device), [{k: v for k, v in one.items() if k != "tags"} for one in rows])
            tags = [{"device": one["id"], "key": k, "value": v} for one in rows for k, v in one["tags"].items()]
            await session.execute(insert(Tag), tags)
            names = [{"device": one["id"], "name": name} for one in rows for name in one["capabilities"]]
            await session.execute(insert(Capability), names)
            texts = [{"device": one["id"], "text": _text(one)} for one in rows]
            await session.execute(insert(DeviceText), texts)


def _text(one: dict[str, Any]) -> str:
    told = (one["id"], one["name"], one["type"], one["manufacturer"], one["model"])
    return "\n".join([*told, *(f"{key}:{value}" for key, value in one["tags"].items())]).casefold()


def questions(count: int) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Give (name, filter, order)."""
    one = row(count // 2, count)
    for name in search.EQUAL:
        yield name, {name: one[name]}, "id"
    for name in ("created", "updated"):
        at = START + timedelta(minutes=count - 50)
        yield f"{name}_narrow", {f"{name}_from": at.isoformat()}, "id"
        yield f"{name}_wide", {f"{name}_from": START.isoformat()}, "id"
    yield "tag", {"tag": ["floor:7"]}, "id"
    yield "tags", {"tag": ["floor:7", "room:r7"]}, "id"
    yield "capability", {"capability": ["can-7"]}, "id"
    yield "capability_of_all", {"capability": ["read"]}, "id"
    texts = {"one": f"unit {count // 3} ", "tenth": "hall 7", "all": "unit", "none": "xyzzy"}
    for name, q in (texts | {"short": "m7", "short_none": "zq"}).items():
        yield f"text_of_{name}", {"q": q}, "id"
    for name in SORTED_BY:
        yield f"sort_{name}", {}, name
    yield "type_sorted_by_name", {"type": "pump"}, "name"
    yield "status_sorted_by_updated", {"status": "online"}, "-updated"
    yield "tag_sorted_by_name", {"tag": ["floor:7"]}, "name"
    yield "text_sorted_by_name", {"q": "hall"}, "name"
    together = {"site": one["site"], "type": one["type"], "status": "online", "tag": ["floor:7"], "q": "acme"}
    yield "together", together, "name"


async def measure(database: Database, count: int, rounds: int, *, quiet: bool) -> dict[str, float]:
    figures = {}
    for name, wanted, sort in questions(count):
        took = []
        for _ in range(rounds):
            begun = time.perf_counter()
            async with database.transaction() as session:
                await search.devices(session, DeviceQuery(**wanted), sort, Asked(limit=100))
            took.append((time.perf_counter() - begun) * 1000)
        took.sort()
        figures[f"{name}_ms"] = round(median(took), 2)
        figures[f"{name}_least_ms"] = round(took[0], 2)
        figures[f"{name}_p99_ms"] = round(took[min(len(took) - 1, round(len(took) * 0.99))], 2)
        if not quiet:
            told = (figures[f"{name}{part}_ms"] for part in ("_least", "", "_p99"))
            print(f"{name:26}" + "".join(f"{value:9.2f} ms" for value in told), "(least, median, p99)")
    return figures


async def run(where: Path | str, asked: argparse.Namespace) -> dict[str, float]:
    migrate(where)
    database = Database(where)
    try:
        await fill(database, asked.devices)
        await statistics.renew(database)
        figures = await measure(database, asked.devices, asked.rounds, quiet=asked.json)
    finally:
        await database.close()
    least = [value for name, value in figures.items() if name.endswith("_least_ms")]
    medians = [value for name, value in figures.items() if not name.endswith(("_least_ms", "_p99_ms"))]
    return figures | {"worst_ms": max(medians), "worst_least_ms": max(least)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=100, help="how often each question is asked")
    parser.add_argument("--postgresql", metavar="ADDRESS", help="an empty database")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(run(Path(folder) / "cloud.db", asked))
    peers = {"postgresql": asyncio.run(run(asked.postgresql, asked))} if asked.postgresql else {}
    ratios = {f"worst_ms_vs_{name}": round(figures["worst_ms"] / peer["worst_ms"], 2) for name, peer in peers.items()}
    machine = f"{platform.machine()} {os.cpu_count()} cores Python {platform.python_version()}"
    print(json.dumps({"name": "registry", "figures": figures, "peers": peers, "ratios": ratios, "machine": machine}))


if __name__ == "__main__":
    main()
