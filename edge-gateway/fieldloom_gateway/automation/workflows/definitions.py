"""The workflows of a gateway by version, from the cloud and from the folder of its data. (W4, W7)

The triggers are those of the version at work. An instance finishes on the version that it began with, so a version
stays as long as an instance runs it.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import structlog

from fieldloom_engine.definitions import Fault
from fieldloom_engine.rules import Devices
from fieldloom_engine.workflows import ENGINE, InvalidWorkflow, Program, Workflow, parse
from fieldloom_engine.workflows.triggers import Triggers
from fieldloom_gateway.automation.deployed import Put, is_described, told_faults

log = structlog.get_logger()

NOTHING = Triggers(())


class Definitions:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._read: list[tuple[str, str, str, str | None]] = []
        """What `refresh` has read last."""
        self._listed: dict[int, frozenset[str]] = {}
        """The devices of a workflow that its cloud has told, by the identity of what the workflow says of them."""
        self.at_work: dict[str, Workflow] = {}
        self.triggers = NOTHING
        self.metrics: frozenset[str] = frozenset()
        """The metrics for whose newest values workflows ask; they may be templates."""

    def put(self, told: Put) -> list[Fault]:
        """Put a version to work, and return what is wrong with it: then the one before stays."""
        if told.origin != (origin := self._origin(told.id)) and origin is not None:
            return [Fault(("id",), f"a workflow of this id has come from the {origin}")]
        faults = list(told.faults) or self._faults(told)
        if faults:
            refused = json.dumps({"version": told.version, "faults": told_faults(faults), "engine": ENGINE})
            row = (told.id, told.origin, refused)
            self._db.execute("INSERT OR REPLACE INTO workflow_refused VALUES (?, ?, ?)", row)
            return faults
        devices = None if told.devices is None else json.dumps(told.devices)
        self._db.execute("DELETE FROM workflow_refused WHERE id = ?", (told.id,))
        self._db.execute("UPDATE workflow SET at_work = 0 WHERE id = ?", (told.id,))
        version = (told.id, told.version, told.origin, json.dumps(told.document), devices)
        self._db.execute("INSERT OR REPLACE INTO workflow VALUES (?, ?, ?, ?, ?, 1)", version)
        return []

    def keep_only(self, origin: str, ids: Iterable[str]) -> None:
        """Take those workflows of an origin from work that are not among these."""
        kept = set(ids)
        for table, change in (
            ("workflow", "UPDATE workflow SET at_work = 0 WHERE id = ?"),
            ("workflow_refused", "DELETE FROM workflow_refused WHERE id = ?"),
        ):
            had = {row[0] for row in self._db.execute(f"SELECT id FROM {table} WHERE origin = ?", (origin,))}  # noqa: S608
            self._db.executemany(change, [(one,) for one in had - kept])

    def forget_unused(self, used: Set[tuple[str, str]]) -> None:
        """Forget the versions that are not at work, but for those that instances run."""
        spare = {*self._db.execute("SELECT id, version FROM workflow WHERE NOT at_work")} - used
        self._db.executemany("DELETE FROM workflow WHERE id = ? AND version = ?", spare)

    def refresh(self) -> bool:
        """Take the workflows that are at work on the disk; return whether they are others than before."""
        query = "SELECT id, version, document, devices FROM workflow WHERE at_work ORDER BY id"
        found = self._db.execute(query).fetchall()
        if found == self._read:
            return False
        self._read = found
        self._listed.clear()
        self.at_work = {one.id: one for one in self._usable()}
        self.triggers = Triggers(self.at_work.values(), self._is_target)
        documents = self._db.execute("SELECT document FROM workflow")  # those too that only still run
        self.metrics = frozenset(metric for (document,) in documents for metric in _metrics(json.loads(document)))
        return True

    def program(self, workflow: str, version: str) -> Program | None:
        """Return a version ready to run, None where there is none, or none that this gateway can run."""
        query = "SELECT document FROM workflow WHERE id = ? AND version = ?"
        row = self._db.execute(query, (workflow, version)).fetchone()
        if row is None:
            return None
        try:
            return Program(parse(json.loads(row[0])))
        except InvalidWorkflow as error:  # of a newer gateway that was installed here before
            log.error("workflow_unusable", workflow=workflow, faults=list(map(str, error.faults)))  # noqa: TRY400
            return None

    def all(self) -> list[dict[str, Any]]:
        """Return what is known of each workflow, without its document."""
        refused = {row[0]: row[1:] for row in self._db.execute("SELECT id, origin, told FROM workflow_refused")}
        query = (
            "SELECT id, coalesce(max(CASE WHEN at_work THEN origin END), min(origin)), "
            "max(CASE WHEN at_work THEN version END), json_group_array(version) FROM workflow GROUP BY id"
        )
        rows = {row[0]: row[1:] for row in self._db.execute(query)}
        return [self._shown(name, rows.get(name), refused.get(name)) for name in sorted({*rows, *refused})]

    def one(self, workflow: str) -> dict[str, Any] | None:
        """Return what is known of a workflow, None if there is none of this id."""
        found = next((one for one in self.all() if one["id"] == workflow), None)
        if found is None:
            return None
        query = "SELECT document, devices FROM workflow WHERE id = ? AND at_work"
        row = self._db.execute(query, (workflow,)).fetchone() or (None, None)
        document, devices = (None if told is None else json.loads(told) for told in row)
        return {**found, "document": document, "devices": devices}

    def _origin(self, workflow: str) -> str | None:
        """Return from where a workflow has come that is at work, None for none."""
        query = "SELECT origin FROM workflow WHERE id = ? AND at_work"
        row = self._db.execute(query, (workflow,)).fetchone()
        return None if row is None else str(row[0])

    def _faults(self, told: Put) -> list[Fault]:
        try:
            workflow = parse(dict(told.document))
        except InvalidWorkflow as error:
            return error.faults
        if workflow.id != told.id:
            return [Fault(("id",), f"is {workflow.id}, not {told.id}")]
        if workflow.version != told.version:
            return [Fault(("version",), f"is {workflow.version}, not {told.version}")]
        return [*_misplaced(workflow, told.devices), *self._changed(workflow)]

    def _changed(self, workflow: Workflow) -> Iterator[Fault]:
        query = "SELECT document FROM workflow WHERE id = ? AND version = ?"
        row = self._db.execute(query, (workflow.id, workflow.version)).fetchone()
        if row is not None and json.loads(row[0]) != workflow.document:
            yield Fault(("version",), f"{workflow.version} is here already and says something else: tell a new version")

    def _usable(self) -> Iterator[Workflow]:
        for name, version, _, devices in self._read:
            program = self.program(name, version)
            if program is None:
                continue
            wanted = program.workflow.devices
            if wanted is not None and devices is not None:
                self._listed[id(wanted)] = frozenset(json.loads(devices))
            yield program.workflow

    def _is_target(self, devices: Devices, source: str) -> bool:
        """Whether a workflow is for a device: as the cloud tells, else by what the device tells of itself."""
        listed = self._listed.get(id(devices))
        return source in listed if listed is not None else is_described(self._db, devices, source)

    def _shown(self, name: str, row: Any, refused: Any) -> dict[str, Any]:
        origin, version, versions = row or (refused[0], None, "[]")
        told = None if refused is None else json.loads(refused[1])
        return {
            "id": name,
            "origin": origin,
            "version": version,
            "versions": sorted(json.loads(versions)),
            "refused": told,
        }


def _metrics(told: Any) -> Iterator[str]:
    """Give what is asked for by `latest` in a part of a definition."""
    if isinstance(told, Mapping):
        latest = told.get("latest")
        if isinstance(latest, Mapping) and "metric" in latest:
            yield str(latest["metric"])
        told = [*told.values()]
    if isinstance(told, list):
        for one in told:
            yield from _metrics(one)


def _misplaced(workflow: Workflow, devices: list[str] | None) -> Iterator[Fault]:
    if workflow.placement == "cloud":
        yield Fault(("placement",), "is cloud: this is a gateway")
    if devices is None and workflow.devices is not None and workflow.devices.group is not None:
        yield Fault(("devices", "group"), "only the cloud knows groups: deploy it there, or name type or tags")
