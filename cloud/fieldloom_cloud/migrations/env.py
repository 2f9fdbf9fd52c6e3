"""Alembic's way into the database: it runs inside the package, so a wheel can migrate."""

from alembic import context
from sqlalchemy import create_engine

from fieldloom_cloud.auth import models as auth
from fieldloom_cloud.database import Base
from fieldloom_cloud.dispatch import models as dispatch
from fieldloom_cloud.ingest import models as ingest
from fieldloom_cloud.pki import models as pki
from fieldloom_cloud.registry import models as registry

# Importing a capability's models is what makes its tables known.
TABLES_OF = (auth, dispatch, ingest, pki, registry)

engine = create_engine(context.config.get_main_option("sqlalchemy.url") or "")
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
