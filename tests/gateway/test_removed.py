"""A device that was removed in the cloud gets no command any more that waits at its gateway. (R1, A3)"""

import pytest

from fieldloom_gateway.ingest import uplink
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime.down import Removed, encode

NOW = 1_790_000_000_000


@pytest.fixture
def store(tmp_path):
    database = open_database(tmp_path)
    yield Store(database, 10_000)
    database.close()


def command(device, number):
    return {"id": f"c{number}", "device": device, "type": "read", "parameters": {}, "expires": NOW + 60_000}


def test_its_commands_wait_no_more_and_those_of_others_do(store):
    store.down.take(b"s" * 16, 2, [command("gone-1", 1), command("stays-1", 2)], NOW)

    news = store.down.take(b"s" * 16, 3, [uplink._read(encode(Removed("gone-1")))], NOW)

    assert news == []
    assert store.down.commands("gone-1") == []
    assert len(store.down.commands("stays-1")) == 1
    assert store.down.number(b"s" * 16) == 3
