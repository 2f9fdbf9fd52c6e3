"""Who is who without a certificate: kept here, so that it holds while the cloud is away. (P8)

The file is its owner's alone (0600): keys that a protocol needs as they are lie in it as they are.
"""

import hashlib
import sqlite3
from collections.abc import Callable
from typing import Any

from fieldloom_gateway.adapters.base import Key, User
from fieldloom_runtime.down import Credential

ROW = "SELECT device, id, secret FROM credential WHERE protocol = ? AND (ends IS NULL OR ends > ?)"
DIGITS = " AND substr(id, -12) = ?"


def keep(connection: sqlite3.Connection, told: Credential) -> None:
    """Keep a credential as the cloud tells it, in the transaction of the caller."""
    row = (told.id, told.device, told.protocol, told.secret, told.ends)
    connection.execute("INSERT OR REPLACE INTO credential VALUES (?, ?, ?, ?, ?)", row)


class Credentials:
    """What holds at this moment, read over a connection of its own; `now` gives Unix ms."""

    def __init__(self, connection: sqlite3.Connection, now: Callable[[], int]) -> None:
        self._db = connection
        self._now = now

    def device_of(self, token: str) -> str | None:
        """Return whose HTTP token this is."""
        # A token has 256 bits of its own, so its hash is looked up as it is.
        row = self._one("http", " AND secret = ?", hashlib.sha256(token.encode()).digest())
        return row[0] if row else None

    def psk(self, identity: str) -> Key | None:
        """Return the key of a DTLS-PSK identity: the credential's last 12 digits, since many stacks take 32 bytes."""
        row = self._one("psk", DIGITS, identity)
        return Key(*row) if row else None

    def oscore(self, client_id: bytes) -> Key | None:
        """Return the master secret of an OSCORE client by its sender id: the credential's last 12 digits, as bytes."""
        row = self._one("oscore", DIGITS, client_id.hex())
        return Key(*row) if row else None

    def users(self) -> list[User]:
        """Return all AMQP users."""
        rows = self._db.execute(ROW + " ORDER BY id", ("amqp", self._now())).fetchall()
        return [User(device, credential_id, secret.decode()) for device, credential_id, secret in rows]

    def _one(self, protocol: str, condition: str, value: str | bytes) -> Any:
        return self._db.execute(ROW + condition, (protocol, self._now(), value)).fetchone()
