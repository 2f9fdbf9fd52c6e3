"""A gateway that can't start says what is wrong and what to do, in one line. (V3)"""

import contextlib
import socket
import sqlite3

import pytest

from fieldloom_gateway.ingest.database import VERSION
from fixtures.processes import Process
from gateway.conftest import Site


@pytest.fixture
def stopped(tmp_path, authority):
    return Site(tmp_path, authority)


def last_line(site):
    process = Process(site.gateway.command, site.folder / "start.log").start()
    assert process.popen.wait(30) == 1
    lines = [line for line in process.log.read_text().splitlines() if not line.startswith("{")]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_port_in_use(stopped):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", stopped.ports["http"]))
        taken.listen()

        assert "free the port or set http_port" in last_line(stopped)


def test_missing_settings(stopped):
    (stopped.data / "gateway.json").unlink()

    assert "gateway.json is missing: write it by `fieldloom gateway init" in last_line(stopped)


def test_settings_with_a_fault_name_the_field(stopped):
    (stopped.data / "gateway.json").write_text('{"id": "nodot", "ca": "a", "cert": "b", "key": "c"}')

    assert "id: Value error, must hold a dot" in last_line(stopped)


def test_a_missing_certificate(stopped, authority):
    (authority.folder / "gw.test.pem").unlink()

    assert "gw.test.pem is missing" in last_line(stopped)


def test_a_key_of_another_certificate(stopped, authority):
    _, other = authority.issue("gw.other")
    (authority.folder / "gw.test.key").write_bytes(other.read_bytes())

    assert "do not belong together" in last_line(stopped)


def test_a_database_newer_than_the_code(stopped):
    with contextlib.closing(sqlite3.connect(stopped.data / "gateway.db")) as connection:
        connection.execute("PRAGMA user_version = 99")

    assert f"has version 99, this gateway knows {VERSION}" in last_line(stopped)


def test_a_damaged_database(stopped):
    (stopped.data / "gateway.db").write_bytes(b"no database" * 500)

    assert "restore it from a copy" in last_line(stopped)


def test_sigterm_stops_it_in_order(site):
    assert site.gateway.stop() == 0
    assert "Traceback" not in site.gateway.log.read_text()
