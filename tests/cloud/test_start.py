"""A cloud that can't start says what is wrong and what to do, in one line; migrations go both ways. (V3)"""

import asyncio
import contextlib
import socket
import sqlite3
import subprocess

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import ValidationError
from sqlalchemy import create_engine

from cloud.conftest import TEMPLATE, Cloud, made, url
from fieldloom_cloud.database import VERSIONS, Base, Database
from fieldloom_cloud.settings import Settings, load
from fieldloom_runtime.errors import StartFailed
from fixtures.processes import FIELDLOOM, Process


@pytest.fixture
def stopped(tmp_path):
    return Cloud(tmp_path)


def last_line(cloud):
    process = Process(cloud.process.command, cloud.folder / "start.log").start()
    assert process.popen.wait(60) == 1
    lines = [line for line in process.log.read_text().splitlines() if not line.startswith("{")]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_port_in_use(stopped):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", stopped.port))
        taken.listen()

        assert "free the port or set port in cloud.json" in last_line(stopped)


def test_a_port_of_est_in_use(stopped):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", stopped.est_port))
        taken.listen()

        assert "EST can't listen" in last_line(stopped)


def test_missing_settings(stopped):
    (stopped.data / "cloud.json").unlink()

    assert "cloud.json is missing: write it by `fieldloom cloud init" in last_line(stopped)


def test_a_missing_ca(stopped):
    (stopped.data / "pki" / "intermediate.key").unlink()

    assert "intermediate.key is missing" in last_line(stopped)


def test_plain_http_is_for_loopback_alone(stopped):
    (stopped.data / "cloud.json").write_text('{"host": "0.0.0.0"}')

    assert "can't serve plain HTTP on 0.0.0.0" in last_line(stopped)


def test_a_database_newer_than_the_code(stopped):
    with contextlib.closing(sqlite3.connect(stopped.data / "cloud.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    assert "has version 9999, which this cloud does not know" in last_line(stopped)


def test_a_damaged_database(stopped):
    (stopped.data / "cloud.db").write_bytes(b"no database" * 500)

    assert "restore it from a copy" in last_line(stopped)


def test_a_database_that_another_cloud_has(tmp_path, postgresql):
    second = Cloud(tmp_path, database=postgresql.create("had", TEMPLATE))

    async def start_second_beside():
        first = Database(second.database)
        await first.lock(None)
        try:
            return await asyncio.to_thread(last_line, second)
        finally:
            await first.close()

    assert "another cloud runs on this database" in asyncio.run(start_second_beside())
    assert second.start().process.stop() == 0, "what has ended holds it no more"


async def test_a_file_that_another_process_has(tmp_path):
    first, second = Database(tmp_path / "cloud.db"), Database(tmp_path / "cloud.db")
    await first.lock(None)

    with pytest.raises(StartFailed, match="SQLite admits one"):
        await second.lock(None)

    for database in (second, first):
        await database.close()
    await second.lock(None)
    await second.close()


def test_sigterm_stops_it_in_order(stopped):
    stopped.start()

    assert stopped.process.stop() == 0
    assert "Traceback" not in stopped.process.log.read_text()


def test_init_again_changes_nothing(stopped):
    token, settings = stopped.token, (stopped.data / "cloud.json").read_text()
    again = [FIELDLOOM, "cloud", "init", "--data", stopped.data]

    done = subprocess.run([str(part) for part in again], capture_output=True, text=True, check=True)

    assert (stopped.token, (stopped.data / "cloud.json").read_text()) == (token, settings)
    assert token not in done.stdout


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("mysql://x/y", "must begin with postgresql://"),
        ("postgresql://me:secret@host/db", "must hold no password"),
        ("postgresql://me@host/db?password=secret", "must hold no password"),
    ],
)
def test_an_address_of_a_database_that_can_not_be_used(address, reason):
    with pytest.raises(ValidationError, match=reason):
        Settings(database=address)


def test_a_second_worker_needs_servers(tmp_path):
    (tmp_path / "cloud.json").write_text("{}")

    assert load(tmp_path, {"port": 9000}).port == 9000
    with pytest.raises(StartFailed, match="SQLite and DuckDB admit one process: set database"):
        load(tmp_path, {"worker": 2})


def test_migrations_go_down_and_up_and_match_the_models(tmp_path, new_database):
    where = url(made(new_database, tmp_path))
    config = Config()
    config.set_main_option("script_location", "fieldloom_cloud:migrations")
    config.set_main_option("sqlalchemy.url", where.replace("%", "%%"))

    command.downgrade(config, "base")
    command.upgrade(config, "head")

    engine = create_engine(where)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": _is_ours})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_files_of_migrations_begin_with_their_version():
    config = Config()
    config.set_main_option("script_location", "fieldloom_cloud:migrations")

    newest_first = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]

    assert VERSIONS[::-1] == newest_first


def _is_ours(name, kind, parents):
    """Leave out the index of texts, which each database has in its own way: SQLite's is made of tables."""
    return not (kind in ("table", "index") and name.startswith("device_trigram"))
