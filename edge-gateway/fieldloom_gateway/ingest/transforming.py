"""Chains in the gateway's transaction: what becomes of a record, and its windows, commit with it. (T1, T2)"""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

from fieldloom_contract import messages
from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine.transformers.chains import Chains, Failure
from fieldloom_engine.transformers.definition import MAX_TAGS
from fieldloom_engine.transformers.reading import Device
from fieldloom_engine.transformers.window import Aggregate, Row, Windows
from fieldloom_runtime.records import Telemetry

REASON = 512  # characters of what a stage said
DEVICES = 10_000  # whose description is remembered


class Failed(NamedTuple):
    """Values of a record that a chain could do nothing with; `numbered` if nothing else of it goes up."""

    record: Telemetry
    stage: str
    reason: str
    payload: bytes
    numbered: bool


class Transforming:
    """Takes telemetry through the chains, in the transaction that is open.

    `add` sends a record up, `cover` says that a seq was received, `bury` keeps what failed.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        add: Callable[[Telemetry], None],
        cover: Callable[[str, int, int], None],
        bury: Callable[[Failed], None],
    ) -> None:
        self._db = connection
        self._add, self._cover, self._bury = add, cover, bury
        self._devices: dict[str, Device] = {}
        self._windows = self._stored_windows()
        self.chains: Chains | None = None
        """None without a definition: then nobody asks here."""

    def use(self, chains: Chains | None, now: int) -> None:
        """Take other chains; windows that these do not go on with are closed."""
        self.chains = chains
        for closed in self._windows.keep_only(chains.rules() if chains else {}):
            self._send(closed, now)

    def take(self, record: Telemetry, now: int, *, in_order: bool) -> None:
        """Take a record through the chains; `in_order` if nothing of its device before it is missing."""
        if self.chains is None:
            self._add(record)
            return
        device = self._device(record.device)
        became = self.chains.transform(device, record.ts, record.values, self._windows, now=now, in_order=in_order)
        for closed in became.closed:
            self._send(closed, now)
        if became.values:
            record.values, record.tags = became.values, became.tags or None
            self._add(record)
        elif (
            not became.failures and record.boot is not None and record.seq is not None
        ):  # else its letter has the number
            self._cover(record.device, record.boot, record.seq)
        if became.failures:
            self._bury(_failed(record, became.failures, numbered=not became.values))

    def close_idle(self, now: int) -> int:
        """Send up the windows whose devices are silent; return how many records that made."""
        closed = self._windows.close_idle(now)
        for one in closed:
            self._send(one, now)
        return len(closed)

    def meet(self, device: str, told: dict[str, Any]) -> bool:
        """Take what a device tells of itself, and say whether it is new; what is no type or tag is not taken."""
        kind = told.get("type")
        kind = kind if _is_name(kind) else None
        tags = told["tags"] if isinstance(told.get("tags"), dict) else {}
        known = [(name, value) for name, value in tags.items() if _is_name(name) and _is_name(value)]
        described = Device(device, kind, tuple(sorted(known)[:MAX_TAGS]))
        if described == self._device(device):
            return False
        row = (device, kind, json.dumps(dict(described.tags)))
        self._db.execute("INSERT OR REPLACE INTO described VALUES (?, ?, ?)", row)
        self._devices[device] = described
        return True

    def described(self, device: str) -> dict[str, Any] | None:
        """Return what a device has told of itself, as `meet` takes it; None where that is neither type nor tag."""
        known = self._device(device)
        return {"type": known.type, "tags": dict(known.tags)} if known.type or known.tags else None

    def figures(self) -> dict[str, dict[str, int]]:
        """Return what each stage has done."""
        figures = self.chains.figures() if self.chains else {}
        return {name: {"received": one.received, **asdict(one)} for name, one in figures.items()}

    @property
    def open_windows(self) -> int:
        """How many windows are open."""
        return len(self._windows)

    def write(self) -> None:
        """Write the windows that have changed."""
        rows, gone = self._windows.changes()
        if rows:
            self._db.executemany("INSERT OR REPLACE INTO open_window VALUES (?, ?, ?, ?, ?)", rows)
        if gone:
            query = "DELETE FROM open_window WHERE device = ? AND chain = ? AND metric = ? AND start = ?"
            self._db.executemany(query, [(device, *key) for device, key in gone])

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._windows = self._stored_windows()
        self._devices.clear()
        if self.chains is not None:
            self.chains.forget()

    def _send(self, closed: Aggregate, now: int) -> None:
        record = Telemetry(closed.device, closed.ts, now, values=closed.values)
        record.tags = closed.tags or None
        self._add(record)

    def _device(self, name: str) -> Device:
        device = self._devices.get(name)
        if device is None:
            if len(self._devices) >= DEVICES:
                self._devices.clear()
            row = self._db.execute("SELECT type, tags FROM described WHERE device = ?", (name,)).fetchone()
            device = Device(name, row[0], tuple(sorted(json.loads(row[1]).items()))) if row else Device(name)
            self._devices[name] = device
        return device

    def _stored_windows(self) -> Windows:
        query = "SELECT device, chain, metric, start, body FROM open_window"
        return Windows(Row(*row) for row in self._db.execute(query))


def _is_name(told: Any) -> bool:
    return isinstance(told, str) and 1 <= len(told) <= MAX_NAME


def _failed(record: Telemetry, failures: list[Failure], *, numbered: bool) -> Failed:
    first = failures[0]
    also = f" (and {len(failures) - 1} more values of this record)" if len(failures) > 1 else ""
    left = {
        "boot": record.boot,
        "seq": record.seq,
        "ts": record.ts,
        "values": {one.metric: one.value for one in failures},
    }
    payload = messages.dumps({name: value for name, value in left.items() if value is not None})
    return Failed(
        record, first.stage, f"{first.stage}: {first.metric}: {first.error[:REASON]}{also}", payload, numbered
    )
