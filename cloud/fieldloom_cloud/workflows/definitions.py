"""The versions of workflows as a process knows them: compiled once, read anew when any has changed them. (W7)"""

from collections.abc import Iterator
from typing import NamedTuple

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation import service as rules
from fieldloom_cloud.workflows import checking
from fieldloom_cloud.workflows.kinds import EDGE
from fieldloom_cloud.workflows.models import WorkflowVersion
from fieldloom_engine.rules import Devices, Event
from fieldloom_engine.workflows import Program, Workflow
from fieldloom_engine.workflows.model import Flow, Map, Parallel, Wait
from fieldloom_engine.workflows.triggers import NotStarted, Start, Triggers

log = structlog.get_logger()


class Version(NamedTuple):
    """A version of a workflow."""

    workflow: str
    version: str


class Definitions:
    """What all instances run, and what starts them."""

    def __init__(self) -> None:
        self._mark: tuple[int, int | None] | None = None
        self._workflows: dict[Version, Workflow] = {}
        self._programs: dict[Version, Program] = {}
        self._meant: dict[str, set[str]] = {}
        self._named: dict[str, Devices] = {}
        self.at_work: dict[str, Workflow] = {}
        """By id the version that starts instances here."""
        self.at_edge: dict[str, Workflow] = {}
        """The like of those that gateways carry out."""
        self.triggers = Triggers([])
        self.awaited: dict[str, set[str | None]] = {}
        """By an event's type what correlates it in any version: paths in its data, None for its source."""

    async def refresh(self, session: AsyncSession) -> None:
        """Read what is new since the last time."""
        query = select(func.count(), func.max(WorkflowVersion.changed))
        count, newest = (await session.execute(query)).one()
        if (count, newest) == self._mark:
            return
        rows = list(await session.scalars(select(WorkflowVersion).order_by(WorkflowVersion.deployed)))
        self._workflows, self.at_work, self.at_edge = {}, {}, {}
        for row in rows:
            workflow = checking.parsed(row.document)
            if workflow is None:
                told = {"workflow": row.workflow, "version": row.version}
                log.error("workflow_not_readable", **told, way_out="deploy a further version of it")
                continue
            is_of_edge = workflow.placement == EDGE
            if not is_of_edge:
                self._workflows[Version(row.workflow, row.version)] = workflow
            if row.deployed is not None:
                here, elsewhere = (self.at_edge, self.at_work) if is_of_edge else (self.at_work, self.at_edge)
                here[row.workflow] = workflow
                elsewhere.pop(row.workflow, None)
        self._use()
        self._mark = (count, newest)

    def program(self, workflow: str, version: str) -> Program | None:
        """Return what instances of a version run, None when this cloud does not take it any more."""
        key = Version(workflow, version)
        program = self._programs.get(key)
        if program is None and key in self._workflows:
            program = self._programs[key] = Program(self._workflows[key])
        return program

    async def started_by(self, session: AsyncSession, events: list[Event], now: int) -> list[Start | NotStarted]:
        """Return what events start. `now` in Unix ms."""
        events = [event for event in events if event.type in self.triggers.types]
        if not events:
            return []
        sources = {event.source for event in events}
        self._meant = {key: await rules.matching(session, named, among=sources) for key, named in self._named.items()}
        return [start for event in events for start in self.triggers.by_event(event, now)]

    def _use(self) -> None:
        told = [one.devices for one in self.at_work.values() if one.devices is not None]
        self._named = {devices.model_dump_json(): devices for devices in told}
        self.triggers = Triggers(self.at_work.values(), self._is_meant)
        self.awaited = {}
        for workflow in self._workflows.values():
            for wait in _waits(workflow.flow):
                if wait.event is not None:
                    told_by = wait.event.correlation.property if wait.event.correlation else None
                    self.awaited.setdefault(wait.event.type, set()).add(told_by)

    def _is_meant(self, devices: Devices, source: str) -> bool:
        return source in self._meant.get(devices.model_dump_json(), ())


def _waits(flow: Flow) -> Iterator[Wait]:
    for state in flow.states.values():
        match state:
            case Wait():
                yield state
            case Parallel():
                for branch in state.branches:
                    yield from _waits(branch)
            case Map():
                yield from _waits(state.iterator)
            case _:
                pass
