"""What `fieldloom cloud init` prepares: settings, database, CA, the broker's configuration, a token. (P1, A2)"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud import broker
from fieldloom_cloud.auth import service as auth
from fieldloom_cloud.auth.sessions import link
from fieldloom_cloud.database import Database, iso, migrate
from fieldloom_cloud.pki import service as pki
from fieldloom_cloud.pki.authority import Authority
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.settings import FILE, Settings, load
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.origin import of_command
from fieldloom_cloud.workers import service as leased
from fieldloom_runtime import files
from fieldloom_runtime.errors import StartFailed

TOKEN_FILE = "admin.token"  # noqa: S105 - the name of the file


@dataclass(frozen=True)
class Prepared:
    """Where to go on from."""

    token_file: Path
    broker: Path


def init(data: Path, wanted: Settings, site: str) -> Prepared:
    """Prepare a data folder with settings; what is there already stays as it is. Raises StartFailed."""
    data = data.resolve()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (data / FILE).exists():
        files.write(data / FILE, wanted.model_dump_json(indent=2) + "\n", files.PUBLIC)
    settings = load(data)
    migrate(settings.sql(data))
    authority = Authority.create(data / "pki")
    authority.provide(settings.identity, settings.mqtt_host)
    if not (data / TOKEN_FILE).exists():
        token = asyncio.run(_first_rows(settings.sql(data), site))
        files.write(data / TOKEN_FILE, token + "\n")
    crl = asyncio.run(_current_list(settings.sql(data), authority))
    return Prepared(data / TOKEN_FILE, broker.prepare(data, settings, authority.ca, crl))


def login_link(data: Path, role: str) -> tuple[str, str]:
    """Return a link to the console of a data folder, whether its cloud runs or not, and when it expires.

    Raises StartFailed.
    """
    settings = load(data)
    migrate(settings.sql(data))
    secret, expires = asyncio.run(_new_link(settings.sql(data), role))
    return link(f"http://{settings.host}:{settings.port}", secret), expires


async def _new_link(where: Path | str, role: str) -> tuple[str, str]:
    database = Database(where)
    try:
        async with database.transaction() as session:
            trail.begin(session, of_command("login-link"))
            secret, expires = await auth.add_login_link(session, role)
            return secret, iso(expires)
    finally:
        await database.close()


def workers(data: Path) -> list[dict[str, Any]]:
    """Return the processes of a data folder's cloud that live, whether one runs here or not. Raises StartFailed."""
    settings = load(data)
    if not settings.is_shared:
        return []
    try:
        return asyncio.run(_workers(settings.sql(data)))
    except SQLAlchemyError as error:
        way_out = "start it, or bring it to this version by `fieldloom cloud migrate`"
        raise StartFailed(f"{settings.sql(data)} can't be used ({str(error).splitlines()[0]})", way_out) from None


async def _workers(where: Path | str) -> list[dict[str, Any]]:
    database = Database(where)
    try:
        async with database.transaction() as session:
            return await leased.listed(session)
    finally:
        await database.close()


async def _first_rows(where: Path | str, site: str) -> str:
    database = Database(where)
    try:
        async with database.transaction() as session:
            trail.begin(session, of_command("init"))
            if not await registry.sites(session):
                await registry.add_site(session, site, site)
            return str((await auth.add_token(session, "first admin", "admin"))["token"])
    finally:
        await database.close()


async def _current_list(where: Path | str, authority: Authority) -> str:
    database = Database(where)
    try:
        async with database.transaction() as session:
            return await pki.current_list(session, authority)
    finally:
        await database.close()
