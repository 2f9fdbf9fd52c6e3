"""Credentials on a gateway's disk: looked up as the cloud has told them, until they end. (P8)"""

import hashlib

import pytest

from fieldloom_gateway.adapters.base import Key, User
from fieldloom_gateway.ingest.credentials import Credentials
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime.down import Credential

NOW = 1_790_000_000_000
STREAM = b"s" * 16
SHA256 = hashlib.sha256(b"fld_x").digest()


class Disk:
    """A gateway's store, told by the cloud record by record; `now` is its clock."""

    def __init__(self, folder):
        self.db = open_database(folder)
        self.store = Store(self.db, 10_000)
        self.now = NOW
        self.known = Credentials(self.db, lambda: self.now)
        self.told = 0

    def hear(self, *records):
        self.told += 1
        self.store.down.take(STREAM, self.told, list(records), self.now)


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path)
    yield disk
    disk.db.close()


def test_a_token_tells_its_device_until_it_is_revoked(disk):
    disk.hear(Credential("dev-1.0123456789ab", "dev-1", "http", SHA256))
    assert disk.known.device_of("fld_x") == "dev-1"
    assert disk.known.device_of("fld_y") is None

    disk.hear(Credential("dev-1.0123456789ab", "dev-1", "http", b"", 0))

    assert disk.known.device_of("fld_x") is None
    assert disk.known.device_of("") is None


def test_an_old_credential_and_a_new_one_hold_together_until_the_old_one_ends(disk):
    disk.hear(Credential("dev-1.000000000001", "dev-1", "psk", b"old", NOW + 1000))
    disk.hear(Credential("dev-1.000000000002", "dev-1", "psk", b"new"))

    assert disk.known.psk("000000000001") == Key("dev-1", "dev-1.000000000001", b"old")
    assert disk.known.psk("000000000002").secret == b"new"
    disk.now += 1000
    assert disk.known.psk("000000000001") is None
    assert disk.known.psk("000000000002").secret == b"new"


def test_each_protocol_finds_its_own_alone(disk):
    disk.hear(
        Credential("dev-1.0123456789ab", "dev-1", "oscore", b"secret"),
        Credential("dev-2.0123456789ac", "dev-2", "amqp", b"hash"),
    )

    assert disk.known.oscore(bytes.fromhex("0123456789ab")) == Key("dev-1", "dev-1.0123456789ab", b"secret")
    assert disk.known.oscore(bytes.fromhex("0123456789ac")) is None
    assert disk.known.psk("0123456789ab") is None
    assert disk.known.users() == [User("dev-2", "dev-2.0123456789ac", "hash")]
