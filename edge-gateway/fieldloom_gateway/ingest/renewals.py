"""Certificates on their way: a device asks, the cloud answers, and what it answered is kept for who asks again. (P4)"""

import sqlite3

from fieldloom_contract import renewal
from fieldloom_runtime.down import Answered


class Renewals:
    """On the gateway's database; `take` belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def answer(self, device: str, csr: bytes) -> bytes | None:
        """Return what a device is told that asks for this, None while only the cloud knows."""
        query = "SELECT payload FROM certificate WHERE device = ? AND request = ?"
        row = self._db.execute(query, (device, renewal.fingerprint(csr))).fetchone()
        return row[0] if row else None

    def take(self, answered: Answered) -> bytes:
        """Keep the cloud's answer in place of the one before, and return what its device is told."""
        payload = renewal.answer(answered.request, answered.certificate, answered.error)
        row = (answered.device, answered.request, payload)
        if answered.certificate is not None:  # a refusal may be other tomorrow
            self._db.execute("INSERT OR REPLACE INTO certificate VALUES (?, ?, ?)", row)
        return payload
