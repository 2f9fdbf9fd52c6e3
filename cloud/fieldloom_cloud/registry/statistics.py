"""Keeps the figures true by which SQLite chooses between the registry's indexes; PostgreSQL does so by itself. (R1)"""

import asyncio
from typing import NoReturn

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud.database import Database
from fieldloom_cloud.registry.models import Capability, Device, DeviceText, Tag

log = structlog.get_logger()

EVERY_S = 3600
TABLES = (Device, Tag, Capability, DeviceText)


async def keep_statistics(database: Database) -> NoReturn:
    """Renew the figures now and every hour, until cancelled: 0.2 s for 100,000 devices."""
    while True:
        try:
            await renew(database)
        except SQLAlchemyError:
            log.exception("disk_refused")
        await asyncio.sleep(EVERY_S)


async def renew(database: Database) -> None:
    """Count anew what the indexes hold."""
    for table in TABLES:
        async with database.transaction() as session:
            await session.execute(text(f"ANALYZE {table.__tablename__}"))
