"""The rules of a gateway, from the cloud and from the folder of its data; the last good version goes on. (E5)"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import structlog

from fieldloom_engine.definitions import Fault, shown
from fieldloom_engine.rules import ENGINE, Devices, InvalidRule, Rule, parse
from fieldloom_runtime import down
from fieldloom_runtime.records import Event

log = structlog.get_logger()

CLOUD, FOLDER = "cloud", "folder"
APPLIED, REFUSED = "rule.applied", "rule.refused"
PARSED = 10_000
"""So many rules are read once, whoever asks for them how often."""


class Put(NamedTuple):
    """A version of a rule that somebody puts to work."""

    origin: str
    id: str
    version: str
    document: Mapping[str, Any]
    mode: str = "active"
    devices: list[str] | None = None
    """Those that it is for, where the cloud has told."""
    faults: tuple[Fault, ...] = ()
    """What is known to be wrong with it already."""


class Deployed:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._read: list[tuple[str, str, str, str | None]] = []
        """What `rules` has read last."""
        self._listed: dict[int, frozenset[str]] = {}
        """The devices of a rule that its cloud has told, by the identity of what the rule says of them."""

    def put(self, told: Put) -> list[Fault]:
        """Put a version to work, and return what is wrong with it: then the one before stays."""
        other = self._db.execute("SELECT origin FROM rule WHERE id = ?", (told.id,)).fetchone()
        if other is not None and other[0] != told.origin:
            return [Fault(("id",), f"a rule of this id has come from the {other[0]}")]
        faults = list(told.faults) or _faults(told)
        if faults:
            query = "INSERT INTO rule VALUES (?, ?, NULL, ?, NULL, NULL, ?) ON CONFLICT DO UPDATE SET refused = ?"
            refused = json.dumps({"version": told.version, "faults": told_faults(faults), "engine": ENGINE})
            self._db.execute(query, (told.id, told.origin, told.mode, refused, refused))
            return faults
        devices = None if told.devices is None else json.dumps(told.devices)
        row = (told.id, told.origin, told.version, told.mode, json.dumps(told.document), devices)
        self._db.execute("INSERT OR REPLACE INTO rule VALUES (?, ?, ?, ?, ?, ?, NULL)", row)
        return []

    def keep_only(self, origin: str, ids: Iterable[str]) -> None:
        """Remove the rules of an origin that are not among these."""
        had = {row[0] for row in self._db.execute("SELECT id FROM rule WHERE origin = ?", (origin,))}
        self._db.executemany("DELETE FROM rule WHERE id = ?", [(one,) for one in had - set(ids)])

    def rules(self) -> list[Rule]:
        """Return all that is at work."""
        found: list[Rule] = []
        self._listed.clear()
        self._read = self._at_work()
        for name, mode, document, devices in self._read:
            try:
                rule = _parsed(document, mode)
            except InvalidRule as error:  # of a newer gateway that was installed here before
                log.error("rule_unusable", rule=name, faults=[str(fault) for fault in error.faults])  # noqa: TRY400
                continue
            if rule.devices is not None and devices is not None:
                self._listed[id(rule.devices)] = frozenset(json.loads(devices))
            found.append(rule)
        return found

    def have_changed(self) -> bool:
        """Whether other rules are at work than `rules` has read last."""
        return self._at_work() != self._read

    def is_target(self, devices: Devices, source: str) -> bool:
        """Whether a rule is for a device: as the cloud tells, else by what the device tells of itself."""
        listed = self._listed.get(id(devices))
        if listed is not None:
            return source in listed
        return is_described(self._db, devices, source)

    def all(self) -> list[dict[str, Any]]:
        """Return what is known of each rule, without its document."""
        rows = self._db.execute("SELECT id, origin, version, mode, refused FROM rule ORDER BY id")
        return [_shown(row) for row in rows]

    def one(self, rule: str) -> dict[str, Any] | None:
        """Return what is known of a rule, None if there is none of this id."""
        query = "SELECT id, origin, version, mode, refused, document, devices FROM rule WHERE id = ?"
        row = self._db.execute(query, (rule,)).fetchone()
        if row is None:
            return None
        document, devices = (None if told is None else json.loads(told) for told in row[5:])
        return {**_shown(row[:5]), "document": document, "devices": devices}

    def _at_work(self) -> list[tuple[str, str, str, str | None]]:
        query = "SELECT id, mode, document, devices FROM rule WHERE document IS NOT NULL ORDER BY id"
        return self._db.execute(query).fetchall()


def is_described(connection: sqlite3.Connection, devices: Devices, source: str) -> bool:
    """Whether a device is one of those that are meant, by what it tells of itself; it tells of no group."""
    row = connection.execute("SELECT type, tags FROM described WHERE device = ?", (source,)).fetchone()
    kind, tags = (row[0], json.loads(row[1])) if row else (None, {})
    if devices.type is not None and devices.type != kind:
        return False
    return devices.group is None and all(tags.get(name) == value for name, value in (devices.tags or {}).items())


def of_cloud(told: down.Rule) -> Put:
    """Return what the cloud puts to work."""
    return Put(CLOUD, told.id, told.version, told.document, told.mode, told.devices)


def prepare(told: Put) -> None:
    """Read a version before it is put to work, not on the disk's thread: what it needs may take long to load."""
    with suppress(InvalidRule):
        _read(told.document, told.mode)


def word(gateway: str, told: Put, faults: list[Fault], now: int) -> Event:
    """Return what the cloud is told of a version that was put to work or refused."""
    head = {"rule": told.id, "version": told.version}
    if faults:
        data = {**head, "faults": told_faults(faults), "engine": ENGINE}
        return Event(gateway, now, now, type=REFUSED, data=data)
    return Event(gateway, now, now, type=APPLIED, data={**head, "mode": told.mode})


def told_faults(faults: Iterable[Fault]) -> list[dict[str, str]]:
    """Return faults as they are told, a path and a reason each."""
    return [{"path": shown(fault.path), "reason": fault.reason} for fault in faults]


def _faults(told: Put) -> list[Fault]:
    try:
        rule = _read(told.document, told.mode)
    except InvalidRule as error:
        return error.faults
    if rule.id != told.id:
        return [Fault(("id",), f"is {rule.id}, not {told.id}")]
    if rule.placement == "cloud":
        return [Fault(("placement",), "is cloud: this is a gateway")]
    if told.devices is None and rule.devices is not None and rule.devices.group is not None:
        return [Fault(("devices", "group"), "only the cloud knows groups: deploy it there, or name type or tags")]
    return []


def _read(document: Mapping[str, Any], mode: str) -> Rule:
    try:
        text = json.dumps(document)
    except TypeError:  # a date of YAML: no rule
        return parse(dict(document))
    return _parsed(text, mode)


@lru_cache(PARSED)
def _parsed(document: str, mode: str) -> Rule:
    told = json.loads(document)
    return parse({**told, "shadow": True} if mode == "shadow" else told)


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    name, origin, version, mode, refused = row
    told = None if refused is None else json.loads(refused)
    return {"id": name, "origin": origin, "version": version, "mode": mode, "refused": told}
