"""A cloud process with its own data folder, and clients with tokens; the same tests on SQLite and on PostgreSQL."""

import contextlib
import functools
import itertools
import sqlite3
import tempfile
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import create_engine

from fieldloom_cloud.database import migrate
from fixtures.commands import fieldloom
from fixtures.postgresql import PostgreSql, dump
from fixtures.processes import FIELDLOOM, Process, free_port, wait_for_port

TEMPLATE = "template"


class Cloud:
    """One cloud process, prepared by the command as a user would."""

    def __init__(self, folder, *options, database=None):
        """`database` is PostgreSQL's address; without it there is a file in the data folder."""
        self.folder = folder
        self.database = database
        self.data = folder / "cloud"
        self.port = free_port()
        self.mqtt_port = free_port()
        self.local_port = free_port()
        self.est_port = free_port()
        ports = ("--port", self.port, "--mqtt-port", self.mqtt_port, "--local-port", self.local_port)
        if database is not None:
            options += ("--database", database)
        else:
            self.data.mkdir(mode=0o700, exist_ok=True)
            new_file(self.data / "cloud.db")
        fieldloom("cloud", "init", "--data", self.data, *ports, "--est-port", self.est_port, *options)
        self.process = Process([FIELDLOOM, "cloud", "serve", "--data", self.data], folder / "cloud.log")

    def start(self):
        self.process.start()
        wait_for_port(self.port)
        return self

    @property
    def token(self):
        return (self.data / "admin.token").read_text().strip()

    def in_database(self):
        """Return a transaction on its database, beside the process."""
        return in_database(self.database or self.data / "cloud.db")

    def stored(self):
        """Return all that its database holds, bytes in hexadecimal digits too, to look for what must not be there."""
        if self.database is not None:
            return dump(self.database)
        with contextlib.closing(sqlite3.connect(self.data / "cloud.db")) as connection:
            told = "\n".join(connection.iterdump()).lower()
        return b"".join([told.encode(), *(path.read_bytes() for path in self.data.glob("cloud.db*"))])

    def client(self, token=None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=20)


@contextlib.contextmanager
def in_database(where):
    """Give a connection to a file, or to PostgreSQL by its address, of which the work is committed."""
    engine = create_engine(url(where))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def url(where):
    """Return SQLAlchemy's address of a file or of a database in PostgreSQL."""
    return where.replace("postgresql:", "postgresql+psycopg:", 1) if isinstance(where, str) else f"sqlite:///{where}"


def made(new_database, folder):
    """Return where a new database at this code's version is: an address, or a file in a folder."""
    return new_database() or new_file(folder / "cloud.db")


def new_file(path):
    """Make a database at this code's version, unless one is there; a copy, since all migrations take 0.3 s of CPU."""
    if not path.exists():
        path.write_bytes(_migrated())
    return path


@functools.cache
def _migrated():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cloud.db"
        migrate(path)
        return path.read_bytes()


@pytest.fixture(scope="session")
def postgresql():
    """A server with a template that is at this code's version."""
    server = PostgreSql().start()
    try:
        migrate(server.create(TEMPLATE))
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def new_database(request):
    """Make the address of a new database, None for a file of the cloud's own: the same tests on both."""
    if request.param == "sqlite":
        return lambda: None
    server, numbers = request.getfixturevalue("postgresql"), itertools.count(1)
    return lambda: server.create(f"test_{next(numbers)}", TEMPLATE)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory, new_database):
    """One process for all that needs no broker; a test names its own devices."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud"), database=new_database()).start()
    yield cloud
    cloud.process.stop()


@pytest.fixture
def api(cloud):
    with cloud.client(cloud.token) as client:
        yield client
