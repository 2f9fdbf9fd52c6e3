"""Alembic's way into the database: it runs inside the package, so a wheel can migrate."""

from alembic import context
from sqlalchemy import create_engine, event, func, select

from fieldloom_cloud.alarms import models as alarms
from fieldloom_cloud.auth import models as auth
from fieldloom_cloud.automation import models as automation
from fieldloom_cloud.credentials import models as credentials
from fieldloom_cloud.database import CLOUD_LOCK, Base
from fieldloom_cloud.device_types import models as device_types
from fieldloom_cloud.discoveries import models as discoveries
from fieldloom_cloud.dispatch import models as dispatch
from fieldloom_cloud.enrolment import models as enrolment
from fieldloom_cloud.holds import models as holds
from fieldloom_cloud.ingest import models as ingest
from fieldloom_cloud.outbox import models as outbox
from fieldloom_cloud.pki import models as pki
from fieldloom_cloud.registry import models as registry
from fieldloom_cloud.releases import models as releases
from fieldloom_cloud.timeseries import models as timeseries
from fieldloom_cloud.trail import models as trail
from fieldloom_cloud.twins import models as twins
from fieldloom_cloud.workers import models as workers
from fieldloom_cloud.workflows import models as workflows

# Importing a capability's models is what makes its tables known.
TABLES_OF = (
    alarms,
    auth,
    automation,
    credentials,
    device_types,
    discoveries,
    dispatch,
    enrolment,
    holds,
    ingest,
    outbox,
    pki,
    registry,
    releases,
    timeseries,
    trail,
    twins,
    workers,
    workflows,
)

engine = create_engine(context.config.get_main_option("sqlalchemy.url") or "")
# Python's sqlite3 commits before every CREATE: a process that ended in between could never migrate again. We begin and
# commit ourselves, so all migrations of a start are there or none.
if engine.dialect.name == "sqlite":
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
with engine.connect() as connection:
    context.configure(
        connection=connection, target_metadata=Base.metadata, render_as_batch=True, transactional_ddl=True
    )
    with context.begin_transaction():
        if engine.dialect.name == "postgresql":  # several processes may start at once; the first one migrates
            connection.execute(select(func.pg_advisory_xact_lock(-CLOUD_LOCK)))
        context.run_migrations()
engine.dispose()
