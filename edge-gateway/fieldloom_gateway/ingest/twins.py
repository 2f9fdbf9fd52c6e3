"""Twins on the gateway's disk: patches until they are in the site's map, and what devices have told here. (R4)"""

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from fieldloom_contract import messages
from fieldloom_engine import twin
from fieldloom_engine.twin import Desired, Patch, Reported
from fieldloom_runtime import records

NOTHING = Reported()


class Map(Protocol):
    """What is wanted of the site's devices, as it is known here. Asked from the thread that has the disk."""

    def version(self, device: str) -> int:
        """Return the version of what is wanted of a device, 0 if nothing ever was."""
        ...

    def desired(self, device: str) -> Desired:
        """Return what is wanted of a device."""
        ...


class Row(NamedTuple):
    """Something that waits to be taken into the map."""

    number: int
    id: str
    """Of the device's rows no other has it."""
    device: str
    told: Patch | Desired
    """A patch; or what this gateway has wanted when it had a map of its own."""
    expected: int | None
    """The version for which alone the patch is meant, None for any."""
    at: int
    """When it was asked for, Unix ms."""
    seen: int | None
    """The version that the device has, None if it was never heard of here."""

    @property
    def patch(self) -> str | None:
        """The id of the patch that somebody has asked for; None for what this gateway sees to by itself."""
        return self.told.id if isinstance(self.told, Patch) else None


class Decided(NamedTuple):
    """What has become of a row."""

    row: Row
    desired: Desired
    """What is wanted after it."""
    error: str | None
    """Why it was refused, if it was."""
    is_news: bool
    """Whether the cloud is to be told."""
    is_late: bool = False
    """Whether something else was wanted meanwhile than it was meant for: it was not applied."""


class Behind(NamedTuple):
    """A device that does not have the newest version; `payload` tells it."""

    device: str
    version: int
    payload: bytes


class Twins:
    """On the gateway's database; all that changes something belongs into a transaction of its caller.

    `answer(record)` sends a record up, and has those hear it who have asked for a patch.
    """

    def __init__(self, connection: sqlite3.Connection, answer: Callable[[records.Record], None]) -> None:
        self._db = connection
        self._answer = answer
        self._map: Map = _Empty()
        self.has_more = True
        """Whether something may wait since it was set to False."""

    def share(self, wanted: Map) -> None:
        """Have what is wanted read there."""
        self._map = wanted

    def ask(self, device: str, patch: Patch, now: int, expected: int | None = None) -> str | None:
        """Keep a patch until it is decided; return the reason if no device would take it, which is told at once."""
        refused = twin.fault(twin.merge({}, patch.changes))
        if refused is not None:
            self._tell(device, self.desired(device), patch.id, refused, now)
        elif not self._is_needless(device, patch):
            self._put(device, patch.id or f"told-{now}", patch, now, expected)
        return refused

    def meet(self, device: str, version: int, now: int) -> None:
        """Take note of the version that a device says it has."""
        if self.seen(device) != version:
            self._write_reported(device, version, self.reported(device))
        self.compare([device], now)

    def compare(self, devices: Collection[str], now: int) -> None:
        """Have it settled where devices were heard of here that may have what they have from a lost disk."""
        for device in devices:
            seen, version = self.seen(device), self._map.version(device)
            if seen is None or not version:
                continue
            if (seen > version or not self.desired(device).is_met) and not self._has("WHERE device = ?", device):
                self._put(device, f"met-{now}", Patch(None), now)

    def hear(self, device: str, told: dict[str, Any], now: int) -> None:
        """Take a device's report."""
        report = Reported(told["version"], told["values"], told["errors"], told["more"])
        self.meet(device, max(report.version, self.seen(device) or 0), now)
        self._write_reported(device, self.seen(device) or 0, twin.hear(self.reported(device), report))

    def bring(self, wanted: dict[str, Desired], now: int) -> None:
        """Keep what this gateway wanted while it had a map of its own, until it is in the one that it shares."""
        for device, desired in wanted.items():
            self._put(device, f"moved-{now}", desired, now)

    def waiting(self, limit: int) -> list[Row]:
        """Return what waits to be decided, the oldest first."""
        self.has_more = False
        return self._rows("ORDER BY number LIMIT ?", limit)

    def pending(self, device: str) -> list[Row]:
        """Return the patches that somebody has asked for of a device, and that wait, the oldest first."""
        return [row for row in self._rows("WHERE device = ? ORDER BY number", device) if row.patch is not None]

    def follow(self, decided: Sequence[Decided], now: int) -> None:
        """Tell the cloud what has become of rows, and forget them."""
        for one in decided:
            if one.is_news:
                self._tell(one.row.device, one.desired, one.row.patch, one.error, now)
        self._db.executemany("DELETE FROM twin_inbox WHERE number = ?", [(one.row.number,) for one in decided])

    def desired(self, device: str) -> Desired:
        """Return what is wanted of a device."""
        return self._map.desired(device)

    def expected(self, device: str) -> Desired:
        """Return what will be wanted of a device once all is decided that waits here."""
        desired = self.desired(device)
        for row in self.pending(device):
            if isinstance(row.told, Patch):
                desired, _ = twin.apply(desired, row.told, row.seen)
        return desired

    def reported(self, device: str) -> Reported:
        """Return what a device has reported last."""
        row = self._db.execute("SELECT body FROM twin_reported WHERE device = ?", (device,)).fetchone()
        return Reported(*json.loads(row[0])) if row else NOTHING

    def seen(self, device: str) -> int | None:
        """Return the version that a device has, None if it was never heard of here."""
        row = self._db.execute("SELECT seen FROM twin_reported WHERE device = ?", (device,)).fetchone()
        return row[0] if row else None

    def behind(self, devices: Collection[str] | None = None) -> list[Behind]:
        """Return who of devices has to be told what is wanted; by default of those that are online here."""
        # One that has just been heard of need not have told of its presence yet, as after a loss of this disk.
        if devices is None:
            query = (
                "SELECT device, told.seen FROM twin_reported AS told JOIN device USING (device) "
                "WHERE online ORDER BY device"
            )
            had = self._db.execute(query).fetchall()
        else:
            had = [(device, seen) for device in devices if (seen := self.seen(device)) is not None]
        return [self._newest(device) for device, seen in had if seen < self._map.version(device)]

    def count(self) -> int:
        """Return how many patches wait to be decided."""
        return int(self._db.execute("SELECT count(*) FROM twin_inbox").fetchone()[0])

    def _newest(self, device: str) -> Behind:
        desired = self.desired(device)
        return Behind(device, desired.version, messages.desired(desired.version, desired.values))

    def _is_needless(self, device: str, patch: Patch) -> bool:
        """Whether a patch waits already, or tells only that the cloud knows the same as this site."""
        if patch.id is None:
            return patch.known is not None and patch.known.version == self._map.version(device)
        return self._has("WHERE device = ? AND id = ?", device, patch.id)

    def _has(self, which: str, *values: str) -> bool:
        query = f"SELECT 1 FROM twin_inbox {which} LIMIT 1"  # noqa: S608
        return self._db.execute(query, values).fetchone() is not None

    def _put(self, device: str, name: str, told: Patch | Desired, now: int, expected: int | None = None) -> None:
        self.has_more = True
        body = _Body(patch=told) if isinstance(told, Patch) else _Body(former=told)
        row = (device, name, _encode(body), expected, now)
        self._db.execute("INSERT INTO twin_inbox (device, id, body, expected, at) VALUES (?, ?, ?, ?, ?)", row)

    def _rows(self, which: str, value: str | int) -> list[Row]:
        columns = "number, id, device, twin_inbox.body, expected, at, seen"
        query = f"SELECT {columns} FROM twin_inbox LEFT JOIN twin_reported USING (device) {which}"  # noqa: S608
        return [
            Row(number, name, device, _decode(body).told, expected, at, seen)
            for number, name, device, body, expected, at, seen in self._db.execute(query, (value,)).fetchall()
        ]

    def _write_reported(self, device: str, seen: int, reported: Reported) -> None:
        row = (device, seen, json.dumps(reported))
        self._db.execute("INSERT OR REPLACE INTO twin_reported VALUES (?, ?, ?)", row)

    def _tell(self, device: str, desired: Desired, patch: str | None, refused: str | None, now: int) -> None:
        told = records.Desired(device=device, ts=now, at=now, version=desired.version, values=desired.values)
        told.patch, told.error = patch, refused
        self._answer(told)


class _Body(msgspec.Struct, omit_defaults=True):
    """How a row is kept, in JSON."""

    patch: Patch = Patch(None)
    former: Desired | None = None

    @property
    def told(self) -> Patch | Desired:
        """What waits."""
        return self.patch if self.former is None else self.former


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Body).decode


class _Empty:
    """The map of a gateway that has none yet."""

    def version(self, device: str) -> int:  # noqa: ARG002 - the port's signature
        return 0

    def desired(self, device: str) -> Desired:  # noqa: ARG002 - the port's signature
        return Desired()
