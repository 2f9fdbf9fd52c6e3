"""SQL: one engine a process, a session and a transaction a request, migrations that belong to the package."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from sqlalchemy import Function, Table, create_engine, event, func, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from fieldloom_cloud.changes import Change, announced, has_left_event
from fieldloom_runtime.errors import StartFailed

Tell = Callable[[Iterable[Change]], None]

# The files of the migrations begin with them.
VERSIONS = sorted(path.name[:4] for path in Path(__file__).parent.glob("migrations/versions/[0-9]*.py"))
CLOUD_LOCK = 0x466C6F6F6D  # any number, as long as every cloud takes the same; those above it are the workers
ALONE = ("another cloud runs on this database", "stop it, or set another database in cloud.json")
LOCK_TRIES, LOCK_PAUSE_S = 8, 0.25  # a server needs a moment to see that the process before was killed


class Base(DeclarativeBase):
    """The base of all tables."""


def now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """Return RFC 3339 UTC with milliseconds, as the API tells times; SQLite gives them back without a zone."""
    return moment.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_ms(ts: int) -> str:
    """Return Unix ms as the API tells times."""
    return iso(datetime.fromtimestamp(ts / 1000, UTC))


def migrate(where: Path | str) -> None:
    """Bring a database to this code's version: a SQLite file, made if it is missing, or PostgreSQL by its address.

    Raises StartFailed.
    """
    version = None if isinstance(where, Path) and not where.exists() else _version(where)
    if version is not None and version not in VERSIONS:
        raise StartFailed(
            f"{where} has version {version}, which this cloud does not know", "install the newer fieldloom-cloud again"
        )
    if version != VERSIONS[-1]:
        _upgrade(where)
    if isinstance(where, Path):
        where.chmod(0o600)


def _url(where: Path | str) -> str:
    return f"sqlite:///{where}" if isinstance(where, Path) else where.replace("postgresql:", "postgresql+psycopg:", 1)


def _version(where: Path | str) -> str | None:
    """Return the version of a database, None for an empty one."""
    engine = create_engine(_url(where))
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return version
    except DatabaseError as error:
        reason = str(error.orig).splitlines()[0]
        way_out = "restore it from a copy" if isinstance(where, Path) else "start it, or set database in cloud.json"
        raise StartFailed(f"{where} can't be used ({reason})", way_out) from None
    finally:
        engine.dispose()


def _upgrade(where: Path | str) -> None:
    from alembic import command  # noqa: PLC0415 - it takes a tenth of the time of a start, and most find their version
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "fieldloom_cloud:migrations")
    config.set_main_option("sqlalchemy.url", _url(where).replace("%", "%%"))
    command.upgrade(config, "head")


def insert(session: AsyncSession, table: type[Base]) -> Any:
    """Return an insertion that may say what happens to a row that is there already: SQLite and PostgreSQL agree."""
    return (sqlite if is_sqlite(session) else postgresql).insert(table)


def table_of(model: type[Base]) -> Table:
    """Return a model's table, for statements that are to be done without looking for objects of it."""
    return cast("Table", model.__table__)


def is_sqlite(session: AsyncSession) -> bool:
    """Whether a session's database is SQLite; else it is PostgreSQL."""
    return session.get_bind().dialect.name == "sqlite"


class Database:
    """An engine on a SQLite file, or on PostgreSQL by its address; a commit that returned survives a power cut.

    `tell(changes)` hears what a transaction has announced, after its commit.
    """

    def __init__(self, where: Path | str, tell: Tell | None = None) -> None:
        self.tell = tell
        self.event_left = asyncio.Event()
        """Set when a transaction has left an event in the outbox."""
        if isinstance(where, Path):
            self.engine: AsyncEngine = create_async_engine(f"sqlite+aiosqlite:///{where}")
            event.listen(self.engine.sync_engine, "connect", _make_durable)
        else:
            self.engine = create_async_engine(_url(where), connect_args={"options": "-c timezone=UTC"})
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._lock: AsyncConnection | None = None
        self._file = where if isinstance(where, Path) else None
        self._held: IO[str] | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Give a session whose work is committed at the end, or undone by an exception."""
        async with self._sessions.begin() as session:
            yield session
        if has_left_event(session):
            self.event_left.set()
        if self.tell is not None:
            self.tell(announced(session))

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file; else it is PostgreSQL."""
        return self._file is not None

    async def lock(self, worker: int | None) -> None:
        """Keep other clouds off a PostgreSQL database until `close`: they would have another CA, and other telemetry.

        With a number, several processes share it, each with another one; without, this one is alone with it, as it is
        with a file. Raises StartFailed.
        """
        if self._file is not None:
            self._take_file(self._file.with_suffix(".lock"))
            return
        self._lock = await self.engine.connect()
        await self._lock.execution_options(isolation_level="AUTOCOMMIT")
        if worker is None:
            await self._take(func.pg_try_advisory_lock(CLOUD_LOCK), ALONE)
        else:
            await self._take(func.pg_try_advisory_lock_shared(CLOUD_LOCK), ALONE)
            numbered = (f"worker {worker} of this cloud runs already", "give this one another number by --worker")
            await self._take(func.pg_try_advisory_lock(CLOUD_LOCK + worker), numbered)

    def _take_file(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._held = path.open("r+")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free when the process ends, however it ends
        except BlockingIOError:
            raise StartFailed(f"another process has {self._file}", "stop it: SQLite admits one") from None

    async def _take(self, lock: Function[bool], otherwise: tuple[str, str]) -> None:
        """Take a lock, or raise StartFailed with a reason and the way out."""
        if self._lock is not None:
            for _ in range(LOCK_TRIES):
                if await self._lock.scalar(select(lock)):
                    return
                await asyncio.sleep(LOCK_PAUSE_S)
        raise StartFailed(*otherwise)

    async def close(self) -> None:
        """Give the connections back."""
        if self._lock is not None:
            await self._lock.close()
        if self._held is not None:
            self._held.close()
        await self.engine.dispose()


def _make_durable(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
