"""Wires the capabilities of the cloud to one application and serves it. (V3)"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud import settings as configuration
from fieldloom_cloud.auth.routes import router as tokens
from fieldloom_cloud.database import Database, migrate
from fieldloom_cloud.dispatch.routes import router as commands
from fieldloom_cloud.errors import answer_problems
from fieldloom_cloud.ingest.routes import router as ingest
from fieldloom_cloud.ingest.worker import Worker, open_worker
from fieldloom_cloud.metrics import registry_of
from fieldloom_cloud.pki.authority import Authority
from fieldloom_cloud.pki.routes import router as certificates
from fieldloom_cloud.registry.routes import router as registry
from fieldloom_cloud.timeseries.routes import router as telemetry
from fieldloom_cloud.timeseries.store import TimeSeries
from fieldloom_runtime import parts
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.http import serving

MAX_BODY_BYTES = 64 * 1024
STOP_GRACE_S = 5


def create_app(database: Database, authority: Authority, series: TimeSeries, worker: Worker) -> FastAPI:
    """Return the HTTP interface over the stores, the CA and the ingest worker."""
    app = FastAPI(title="Fieldloom", version="1", docs_url=None, redoc_url=None, max_body_size=MAX_BODY_BYTES)
    app.state.database = database
    app.state.authority = authority
    app.state.series = series
    app.state.wake_downlink = worker.downlink.wake
    answer_problems(app)
    app.include_router(tokens)
    app.include_router(registry)
    app.include_router(certificates)
    app.include_router(telemetry)
    app.include_router(ingest)
    app.include_router(commands)
    _add_health(app, database, worker)
    return app


def _add_health(app: FastAPI, database: Database, worker: Worker) -> None:
    figures = registry_of(worker)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz(response: Response) -> dict[str, Any]:
        reason = None if worker.is_connected else "the broker of this cloud can't be reached"
        try:
            async with database.transaction() as session:
                await session.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            reason = f"the database can't be used ({error})"
        response.status_code = 200 if reason is None else 503
        return {"ready": reason is None, "reason": reason}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(figures), media_type=CONTENT_TYPE_LATEST)


async def serve(data: Path) -> None:
    """Run the cloud of a data folder until SIGTERM or SIGINT. Raises StartFailed."""
    settings = configuration.load(data)
    await asyncio.to_thread(migrate, data / configuration.DATABASE)
    database = Database(data / configuration.DATABASE)
    authority = Authority(data / "pki")
    series = TimeSeries(data)
    worker = open_worker(data, configuration.IDENTITY, (settings.mqtt_host, settings.mqtt_port), database, series)
    stop = parts.stop_on_signals()
    ordered: list[parts.Part] = [
        ("stores", _stores(database, series)),
        ("ingest", parts.Background("ingest", worker.run, stop)),
        ("downlink", parts.Background("downlink", worker.downlink.run, stop)),
        ("api", _api(create_app(database, authority, series, worker), settings)),
    ]
    await parts.run(ordered, stop)


@asynccontextmanager
async def _stores(database: Database, series: TimeSeries) -> AsyncIterator[None]:
    try:
        yield
    finally:
        series.close()
        await database.close()


@asynccontextmanager
async def _api(app: FastAPI, settings: configuration.Settings) -> AsyncIterator[None]:
    if settings.host not in ("127.0.0.1", "::1", "localhost"):
        raise StartFailed(f"the API can't serve plain HTTP on {settings.host}", "set host to 127.0.0.1 in cloud.json")
    way_out = "free the port or set port in cloud.json"
    async with serving(app, "the API", (settings.host, settings.port), way_out, STOP_GRACE_S):
        yield
