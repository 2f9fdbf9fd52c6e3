"""Which numbered records a stopped cloud holds, and how often: what a proof of "nothing lost, nothing twice" counts."""

import json
import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from fieldloom_cloud.settings import DATABASE
from fieldloom_cloud.timeseries import days
from fieldloom_cloud.timeseries.ports import Tier
from fieldloom_cloud.timeseries.store import FILE, LAST_MS
from fieldloom_contract.ranges import Ranges

Life = tuple[str, int]
"""(device, boot)"""


@dataclass
class Census:
    """What the stores hold by (device, boot)."""

    stored: dict[Life, Ranges] = field(default_factory=lambda: defaultdict(Ranges))
    """Seqs that are there: as points, events or dead letters."""
    dropped: dict[Life, Ranges] = field(default_factory=lambda: defaultdict(Ranges))
    """Seqs that their board gave up and said so (`records.dropped`)."""
    duplicated: int = 0
    """Rows beyond one for a (device, boot, seq)."""

    def lost(self, life: Life, acknowledged: int) -> list[int]:
        """Return the seqs of a life up to an acknowledged one that are neither stored nor told as dropped."""
        stored, dropped = self.stored[life], self.dropped[life]
        return [seq for seq in range(1, acknowledged + 1) if seq not in stored and seq not in dropped]


def take(data: Path) -> Census:
    """Count what the stores in a cloud's data folder hold; no process may have them open."""
    census = Census()
    with duckdb.connect(data / FILE, read_only=True) as series:
        points = days.between(series, (Tier.RAW,), 0, LAST_MS)
        counted = f"SELECT device, boot, seq, metric, count(*) AS n FROM {points} WHERE seq IS NOT NULL GROUP BY ALL"  # noqa: S608 - ours
        most = f"SELECT device, boot, seq, max(n) FROM ({counted}) GROUP BY ALL ORDER BY ALL"  # noqa: S608 - ours
        _count(census, series.execute(most).fetchall())
    sql = sqlite3.connect(f"file:{data / DATABASE}?mode=ro", uri=True)
    try:
        counted = "SELECT device, boot, seq, count(*) FROM event WHERE seq IS NOT NULL GROUP BY 1, 2, 3"
        _count(census, sql.execute(counted).fetchall())
        letters = """
            SELECT device, record ->> 'boot', record ->> 'seq', count(*) FROM dead_letter
            WHERE record ->> 'seq' IS NOT NULL GROUP BY 1, 2, 3"""
        _count(census, sql.execute(letters).fetchall())
        for device, text in sql.execute("SELECT device, data FROM event WHERE type = 'records.dropped'"):
            told = json.loads(text)
            span = [told.get(name) for name in ("boot", "from", "to")]
            if all(isinstance(number, int) for number in span):  # a device may say what it likes
                census.dropped[device, span[0]].add(span[1], span[2])
    finally:
        sql.close()
    return census


def _count(census: Census, rows: list[tuple[str, int, int, int]]) -> None:
    for device, boot, seq, count in rows:
        # A record is a point, an event or a dead letter, and never two of them.
        fresh = census.stored[device, int(boot)].add(int(seq))
        census.duplicated += count - 1 if fresh else count
