"""Wires the capabilities of the cloud to one application and serves it. (V3)"""

import asyncio
import hashlib
import platform
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import structlog
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import broker
from fieldloom_cloud import settings as configuration
from fieldloom_cloud.alarms.escalation import keep_escalating
from fieldloom_cloud.alarms.routes import router as alarms
from fieldloom_cloud.audit.keeper import Keeper
from fieldloom_cloud.audit.routes import router as audit
from fieldloom_cloud.auth.dependencies import count_refusal
from fieldloom_cloud.auth.routes import router as tokens
from fieldloom_cloud.auth.sessions import router as sessions
from fieldloom_cloud.automation import service as rules_at_work
from fieldloom_cloud.automation.backtest_routes import router as backtest
from fieldloom_cloud.automation.calling import calls
from fieldloom_cloud.automation.effects import notify
from fieldloom_cloud.automation.inbox import Inbox, Judging
from fieldloom_cloud.automation.performer import Performer
from fieldloom_cloud.automation.routes import router as rules
from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.clusters.routes import router as clusters
from fieldloom_cloud.completeness.routes import router as completeness
from fieldloom_cloud.console import add_console
from fieldloom_cloud.credentials.routes import router as credentials
from fieldloom_cloud.database import Database, migrate
from fieldloom_cloud.device_types.routes import router as types
from fieldloom_cloud.discoveries.routes import router as discoveries
from fieldloom_cloud.dispatch.routes import router as commands
from fieldloom_cloud.enrolment.est import est_app
from fieldloom_cloud.enrolment.routes import router as claims
from fieldloom_cloud.errors import answer_problems, describe_problems
from fieldloom_cloud.health import router as health
from fieldloom_cloud.holds.routes import router as holds
from fieldloom_cloud.ingest.registry_events import Publisher
from fieldloom_cloud.ingest.routes import router as ingest
from fieldloom_cloud.ingest.service import refuse
from fieldloom_cloud.ingest.worker import Worker, open_broker
from fieldloom_cloud.live.hub import Hub
from fieldloom_cloud.live.neighbours import Bell, Neighbours
from fieldloom_cloud.live.routes import router as live
from fieldloom_cloud.metrics import Counted, registry_of
from fieldloom_cloud.pki.authority import Authority
from fieldloom_cloud.pki.routes import router as certificates
from fieldloom_cloud.registry.group_routes import router as groups
from fieldloom_cloud.registry.routes import router as registry
from fieldloom_cloud.registry.statistics import keep_statistics
from fieldloom_cloud.registry.transfer_routes import router as transfer
from fieldloom_cloud.releases.package import load_root
from fieldloom_cloud.releases.routes import router as releases
from fieldloom_cloud.removal.routes import router as removal
from fieldloom_cloud.revocation.enforcement import open_enforcement
from fieldloom_cloud.revocation.routes import published
from fieldloom_cloud.revocation.routes import router as revocation
from fieldloom_cloud.timeseries.maintenance import Maintenance
from fieldloom_cloud.timeseries.opening import open_series
from fieldloom_cloud.timeseries.ports import Backend
from fieldloom_cloud.timeseries.relay import Relay
from fieldloom_cloud.timeseries.routes import router as telemetry
from fieldloom_cloud.timeseries.rule_routes import router as downsampling
from fieldloom_cloud.timeseries.store import TimeSeries
from fieldloom_cloud.trail.refusals import Refusals
from fieldloom_cloud.twins.routes import router as twins
from fieldloom_cloud.updates.routes import router as updates
from fieldloom_cloud.workers.leases import AllSlots, Leases, Slots, Work
from fieldloom_cloud.workers.routes import router as workers
from fieldloom_cloud.workers.service import Candidate
from fieldloom_cloud.workflows import service as workflows_at_work
from fieldloom_cloud.workflows.asking import telemetry as ask_series
from fieldloom_cloud.workflows.hearing import Hearing
from fieldloom_cloud.workflows.instance_routes import router as instances
from fieldloom_cloud.workflows.kinds import START, TELEMETRY
from fieldloom_cloud.workflows.routes import router as workflows
from fieldloom_cloud.workflows.worker import WorkflowWorker, clock
from fieldloom_engine.writes import Writer
from fieldloom_runtime import parts
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.http import serving
from fieldloom_runtime.tls import server_context

log = structlog.get_logger()

MAX_BODY_BYTES = 64 * 1024
STOP_GRACE_S = 5
DOWNLINK, ENFORCEMENT, RULES, JUDGING = "downlink", "enforcement", "rules", "judging"
"""What is rung for, here or at another process of this cloud."""

Ring = Callable[[str], None]


def create_app(
    database: Database, authority: Authority, hub: Hub, counted: Counted, ring: Ring, release_root: int | None
) -> FastAPI:
    """Return the HTTP interface over SQL, CA, those who watch, and the parts at work.

    `ring(name)` says that something waits, and `release_root` is the modulus that release keys are held against.
    """
    app = interface()
    app.state.database = database
    app.state.authority = authority
    app.state.series = counted.maintenance.store
    app.state.worker = counted.worker
    app.state.slots = counted.slots
    app.state.rules = counted.runtime
    app.state.wake_downlink = partial(ring, DOWNLINK)
    app.state.wake_enforcement = partial(ring, ENFORCEMENT)
    app.state.wake_rules = partial(ring, RULES)
    app.state.wake_maintenance = counted.maintenance.wake
    app.state.figures = registry_of(counted, app.state.refusals)
    app.state.hub = hub
    app.state.release_root = release_root
    add_console(app)
    return app


def interface() -> FastAPI:
    """Return the routes with nothing behind them, which is all that the OpenAPI document needs."""
    app = FastAPI(
        title="Fieldloom",
        version="1",
        docs_url=None,
        redoc_url=None,
        max_body_size=MAX_BODY_BYTES,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.backtests = set()
    app.state.refusals = Refusals()
    app.state.writers = writers
    answer_problems(app, partial(count_refusal, app.state.refusals))
    describe_problems(app)
    registered = (transfer, registry, removal, groups, types, discoveries)
    proofs = (certificates, claims, credentials, revocation)
    kept = (telemetry, downsampling, completeness, clusters, ingest)
    fleet = (*registered, *proofs, *kept, commands, holds, twins, releases, updates)
    automation = (backtest, rules, alarms, workflows, instances)
    for router in (tokens, sessions, audit, workers, *fleet, *automation, live, health, published):
        app.include_router(router)
    return app


async def writers(session: AsyncSession) -> list[Writer]:
    """Return what all rules and workflows at work write: neither knows the others. (E9)"""
    return await rules_at_work.writers(session) + await workflows_at_work.writers(session)


async def serve(data: Path, changed: Mapping[str, int] | None = None) -> None:
    """Run the cloud of a data folder until SIGTERM or SIGINT, with some of its settings changed. Raises StartFailed."""
    settings = configuration.load(data, changed)
    await asyncio.to_thread(migrate, settings.sql(data))
    told = await asyncio.to_thread(broker.renew, data)
    if told is not None:
        log.info("broker_rights_renewed", told=told)
    hub = Hub()
    database = Database(settings.sql(data), hub.tell)
    authority = Authority(data / "pki")
    await asyncio.to_thread(authority.provide, settings.identity, settings.mqtt_host)
    series = await asyncio.to_thread(open_series, data, settings.series)
    taking = series if isinstance(series, TimeSeries) else Relay(database, series, refuse)
    bells: dict[str, Bell] = {}
    shared = _share(data, settings, database, authority, hub, bells) if settings.is_shared else None
    slots: Slots = AllSlots() if shared is None else shared.leases
    ring: Ring = (lambda name: bells[name]()) if shared is None else shared.neighbours.ring
    runtime = Runtime(database, slots)
    judge = runtime if shared is None else Inbox(partial(ring, JUDGING))
    outgoing = calls(data)
    with_series = {**outgoing, TELEMETRY: ask_series(series)}
    workflow_worker = WorkflowWorker(database, with_series, days=settings.workflow_days)
    workflow_worker.wake_downlink = partial(ring, DOWNLINK)
    hearing = Hearing(judge, workflow_worker.definitions, workflow_worker.wake, clock)
    worker = Worker(open_broker(data, settings), database, taking, authority, hearing, slots)
    calling = {**outgoing, START: workflow_worker.start}
    performer = Performer(database, runtime, partial(ring, DOWNLINK), calling, days=settings.rule_days)
    judging = Judging(database, runtime)
    enforcement = open_enforcement(data, settings.identity, settings.local_port, database, authority)
    maintenance = Maintenance(database, series)
    bells |= {DOWNLINK: worker.downlink.wake, ENFORCEMENT: enforcement.wake, RULES: runtime.refresh}
    bells[JUDGING] = judging.wake
    counted = Counted(worker, slots, runtime, maintenance, workflow_worker)
    app = create_app(database, authority, hub, counted, ring, load_root(settings.release_root))
    app.state.workflows = workflow_worker
    refusals: Refusals = app.state.refusals
    keeper = Keeper(database, refusals, settings.audit_days)
    stop = parts.stop_on_signals()

    def background(name: str, work: Work) -> parts.Part:
        return name, parts.Background(name, work, stop)

    def led(name: str, work: Work) -> parts.Part:
        return background(name, partial(slots.while_leading, work))

    ordered: list[parts.Part] = [("stores", _stores(database, series, settings))]
    if shared is not None:
        ordered += [("slots", shared.leases.running()), background("neighbours", shared.neighbours.run)]
        ordered += [led("judging", judging.run)]
    if isinstance(taking, Relay):
        ordered += [led("series-relay", taking.run), background("series-level", taking.keep_level)]
    ordered += [
        background("ingest", worker.run),
        background("downlink", worker.downlink.run),
        background("pieces", worker.pieces.run),
        led("rules", performer.run),
        background("workflows", workflow_worker.run),
        background("registry-events", Publisher(database).run),
        background("statistics", partial(keep_statistics, database)),
        led("escalation", partial(keep_escalating, database, notify)),
        led("series-maintenance", maintenance.run),
        background("revocation", partial(slots.while_at_broker, enforcement.run)),
        background("audit", keeper.run),
        ("api", _api(app, hub, settings)),
    ]
    if settings.est_port:
        ordered.append(("est", _est(est_app(database, authority, refusals), settings, data / "pki")))
    await parts.run(ordered, stop)


class _Shared(NamedTuple):
    """What a process needs among several."""

    leases: Leases
    neighbours: Neighbours


def _share(
    data: Path,
    settings: configuration.Settings,
    database: Database,
    authority: Authority,
    hub: Hub,
    bells: Mapping[str, Bell],
) -> _Shared:
    series = settings.series
    told = (authority.identify(), series.backend, series.url, series.database, series.organisation)
    cloud = hashlib.sha256(repr(told).encode()).hexdigest()
    api = f"http://{settings.host}:{settings.port}"
    me = Candidate(settings.worker, cloud, platform.node(), api, broker.is_here(data))
    leases = Leases(database, me, lambda: hub.watchers)
    neighbours = Neighbours(database, hub, bells, lambda: leases.others_watch)
    database.tell = neighbours.tell
    return _Shared(leases, neighbours)


def _est(app: FastAPI, settings: configuration.Settings, keys: Path) -> AbstractAsyncContextManager[None]:
    own = (keys / f"{settings.identity}.pem", keys / f"{settings.identity}.key")
    tls = server_context(keys / "ca.pem", *own, ssl.TLSVersion.TLSv1_2)
    tls.verify_mode = ssl.CERT_OPTIONAL  # who enrols for the first time has none
    way_out = "free the port or set est_port in cloud.json"
    return serving(app, "EST", (settings.mqtt_host, settings.est_port), way_out, STOP_GRACE_S, tls)


@asynccontextmanager
async def _stores(database: Database, series: Backend, settings: configuration.Settings) -> AsyncIterator[None]:
    try:
        await database.lock(settings.worker if settings.is_shared else None)
        yield
    finally:
        series.close()
        await database.close()


@asynccontextmanager
async def _api(app: FastAPI, hub: Hub, settings: configuration.Settings) -> AsyncIterator[None]:
    if settings.host not in configuration.LOOPBACK:
        raise StartFailed(f"the API can't serve plain HTTP on {settings.host}", "set host to 127.0.0.1 in cloud.json")
    way_out = "free the port or set port in cloud.json"
    async with serving(app, "the API", (settings.host, settings.port), way_out, STOP_GRACE_S):
        try:
            yield
        finally:
            hub.close()  # before the server waits for what is open
