"""Wires the capabilities of the cloud to one application and serves it. (V3)"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
from fastapi import FastAPI

from fieldloom_cloud import broker
from fieldloom_cloud import settings as configuration
from fieldloom_cloud.alarms.escalation import keep_escalating
from fieldloom_cloud.alarms.routes import router as alarms
from fieldloom_cloud.audit.keeper import Keeper
from fieldloom_cloud.audit.routes import router as audit
from fieldloom_cloud.auth.dependencies import count_refusal
from fieldloom_cloud.auth.routes import router as tokens
from fieldloom_cloud.auth.sessions import router as sessions
from fieldloom_cloud.automation.backtest_routes import router as backtest
from fieldloom_cloud.automation.calling import calls
from fieldloom_cloud.automation.effects import notify
from fieldloom_cloud.automation.performer import Performer
from fieldloom_cloud.automation.routes import router as rules
from fieldloom_cloud.automation.runtime import Runtime
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
from fieldloom_cloud.ingest.registry_events import Publisher
from fieldloom_cloud.ingest.routes import router as ingest
from fieldloom_cloud.ingest.service import refuse
from fieldloom_cloud.ingest.worker import Worker, open_worker
from fieldloom_cloud.live.hub import Hub
from fieldloom_cloud.live.routes import router as live
from fieldloom_cloud.metrics import registry_of
from fieldloom_cloud.pki.authority import Authority
from fieldloom_cloud.pki.routes import router as certificates
from fieldloom_cloud.registry.group_routes import router as groups
from fieldloom_cloud.registry.routes import router as registry
from fieldloom_cloud.registry.statistics import keep_statistics
from fieldloom_cloud.registry.transfer_routes import router as transfer
from fieldloom_cloud.releases.package import load_root
from fieldloom_cloud.releases.routes import router as releases
from fieldloom_cloud.removal.routes import router as removal
from fieldloom_cloud.revocation.enforcement import Enforcement, open_enforcement
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
from fieldloom_runtime import parts
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.http import serving
from fieldloom_runtime.tls import server_context

log = structlog.get_logger()

MAX_BODY_BYTES = 64 * 1024
STOP_GRACE_S = 5


def create_app(
    database: Database,
    authority: Authority,
    maintenance: Maintenance,
    worker: Worker,
    hub: Hub,
    enforcement: Enforcement,
    release_root: int | None,
) -> FastAPI:
    """Return the HTTP interface over SQL, CA, time series, the ingest worker, those who watch, and the broker's door.

    `release_root` is the modulus that release keys are held against.
    """
    app = interface()
    app.state.database = database
    app.state.authority = authority
    app.state.series = maintenance.store
    app.state.worker = worker
    app.state.wake_downlink = worker.downlink.wake
    app.state.wake_enforcement = enforcement.wake
    app.state.rules = worker.judge
    app.state.wake_maintenance = maintenance.wake
    app.state.figures = registry_of(worker, maintenance, app.state.refusals)
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
    answer_problems(app, partial(count_refusal, app.state.refusals))
    describe_problems(app)
    registered = (transfer, registry, removal, groups, types, discoveries)
    proofs = (certificates, claims, credentials, revocation)
    kept = (telemetry, downsampling, completeness, ingest)
    fleet = (*registered, *proofs, *kept, commands, twins, releases, updates)
    automation = (backtest, rules, alarms)
    for router in (tokens, sessions, audit, *fleet, *automation, live, health, published):
        app.include_router(router)
    return app


async def serve(data: Path) -> None:
    """Run the cloud of a data folder until SIGTERM or SIGINT. Raises StartFailed."""
    settings = configuration.load(data)
    await asyncio.to_thread(migrate, settings.sql(data))
    told = await asyncio.to_thread(broker.renew, data)
    if told is not None:
        log.info("broker_rights_renewed", told=told)
    hub = Hub()
    database = Database(settings.sql(data), hub.tell)
    authority = Authority(data / "pki")
    series = await asyncio.to_thread(open_series, data, settings.series)
    taking = series if isinstance(series, TimeSeries) else Relay(database, series, refuse)
    address = (settings.mqtt_host, settings.mqtt_port)
    runtime = Runtime(database)
    worker = open_worker(data, configuration.IDENTITY, address, database, taking, authority, runtime)
    performer = Performer(database, runtime, worker.downlink.wake, calls(data), days=settings.rule_days)
    enforcement = open_enforcement(data, configuration.IDENTITY, settings.local_port, database, authority)
    maintenance = Maintenance(database, series)
    app = create_app(database, authority, maintenance, worker, hub, enforcement, load_root(settings.release_root))
    refusals: Refusals = app.state.refusals
    keeper = Keeper(database, refusals, settings.audit_days)
    stop = parts.stop_on_signals()
    ordered: list[parts.Part] = [
        ("stores", _stores(database, series)),
        *([("series-relay", parts.Background("series-relay", taking.run, stop))] if isinstance(taking, Relay) else []),
        ("ingest", parts.Background("ingest", worker.run, stop)),
        ("downlink", parts.Background("downlink", worker.downlink.run, stop)),
        ("pieces", parts.Background("pieces", worker.pieces.run, stop)),
        ("rules", parts.Background("rules", performer.run, stop)),
        ("registry-events", parts.Background("registry-events", Publisher(database).run, stop)),
        ("statistics", parts.Background("statistics", lambda: keep_statistics(database), stop)),
        ("escalation", parts.Background("escalation", lambda: keep_escalating(database, notify), stop)),
        ("series-maintenance", parts.Background("series-maintenance", maintenance.run, stop)),
        ("revocation", parts.Background("revocation", enforcement.run, stop)),
        ("audit", parts.Background("audit", keeper.run, stop)),
        ("api", _api(app, hub, settings)),
    ]
    ordered.append(("est", _est(est_app(database, authority, refusals), settings, data / "pki")))
    await parts.run(ordered, stop)


def _est(app: FastAPI, settings: configuration.Settings, keys: Path) -> AbstractAsyncContextManager[None]:
    own = (keys / f"{configuration.IDENTITY}.pem", keys / f"{configuration.IDENTITY}.key")
    tls = server_context(keys / "ca.pem", *own, ssl.TLSVersion.TLSv1_2)
    tls.verify_mode = ssl.CERT_OPTIONAL  # who enrols for the first time has none
    way_out = "free the port or set est_port in cloud.json"
    return serving(app, "EST", (settings.mqtt_host, settings.est_port), way_out, STOP_GRACE_S, tls)


@asynccontextmanager
async def _stores(database: Database, series: Backend) -> AsyncIterator[None]:
    try:
        await database.lock()
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
