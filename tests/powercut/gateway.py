"""Opens what a power cut left of a gateway by the real code, and holds it against what the gateway had said."""

import json
import sqlite3
from binascii import crc32
from pathlib import Path
from typing import NamedTuple

from fieldloom_contract import topics
from fieldloom_gateway.ingest.database import FILE, open_database
from fieldloom_gateway.ingest.express import AFTER
from fieldloom_gateway.ingest.outbox import Lane, Outbox
from fieldloom_gateway.ingest.store import Arrival, Store
from fieldloom_runtime.errors import StartFailed
from powercut import script
from powercut.disk import State


class Sent(NamedTuple):
    """A record that went up: the stream in hex, the CRC-32 of its text, and its seq or 0."""

    stream: str
    fingerprint: int
    seq: int


class Said:
    """What left the gateway before the cut."""

    def __init__(self, state: State) -> None:
        self.acknowledged = self.down = 0
        self.sent: dict[int, Sent] = {}
        self.cloud_has: dict[str, int] = {}
        for mark in state.said:
            what, *words = mark.words
            match what:
                case "sent":
                    self.sent[int(words[1])] = Sent(words[0], int(words[2]), int(words[3]))
                case "acknowledged":
                    self.acknowledged = max(self.acknowledged, int(words[0]))
                case "cloud-has":
                    self.cloud_has[words[0]] = int(words[1])
                case "down":
                    self.down = int(words[0])

    @property
    def stored_above(self) -> set[int]:
        """The seqs that the cloud has acknowledged."""
        return {sent.seq for number, sent in self.sent.items() if self.is_stored(number)}

    def is_stored(self, number: int) -> bool:
        """Whether the cloud has acknowledged a record."""
        return number in self.sent and number <= self.cloud_has.get(self.sent[number].stream, 0)


def violations(folder: Path, state: State) -> list[str]:
    """Return what is wrong with a gateway that starts on this folder; nothing, if it kept its word."""
    said = Said(state)
    try:
        connection = open_database(folder)
    except StartFailed as error:
        return [f"does not open: {error}"]
    reader = sqlite3.connect(folder / FILE)
    try:
        return list(_check(connection, reader, said))
    finally:
        reader.close()
        connection.close()


def _check(connection: sqlite3.Connection, reader: sqlite3.Connection, said: Said):
    intact = connection.execute("PRAGMA integrity_check").fetchall()
    if intact != [("ok",)]:
        yield f"not intact: {intact}"
        return
    store, outbox = Store(connection, 1_000_000), Outbox(reader)
    for number, _, _ in _waiting(connection):
        if number in said.sent and said.sent[number].stream != _lane(outbox, number).stream.hex():
            yield f"number {number} goes up under two streams"
    had = {seq for _, _, seq in _waiting(connection)} | said.stored_above
    if lost := set(range(1, said.acknowledged + 1)) - had:
        yield f"acknowledged and lost: {sorted(lost)}"
    taken = store.down.number(script.STREAM_DOWN)
    if taken < said.down or len(store.down.commands(script.DEVICE)) < min(said.down, script.COMMANDS):
        yield "a command that was acknowledged is gone"
    patches = [row.patch for row in store.twins.pending(script.DEVICE)]
    if patches != [f"p-{number}" for number in range(1, taken - script.COMMANDS + 1)]:
        yield f"of the twin {patches} wait at number {taken} of the stream"

    for first in (said.acknowledged + 1, 1):  # the last acknowledgement was heard; none was
        messages = script.sent_again(first)
        group = [Arrival(*topics.parse_device(topic), payload, topic) for topic, payload in messages]
        if group:
            store.take(group, script.START)
    yield from _after_resend(_waiting(connection), said)


def _after_resend(waiting: list[tuple[int, bytes, int]], said: Said):
    again = [seq for _, _, seq in waiting if seq]
    unknown = {seq for number, _, seq in waiting if not said.is_stored(number)}
    if twice := {seq for seq in again if again.count(seq) > 1} | (unknown & said.stored_above - {0}):
        yield f"stored twice: {sorted(twice)}"
    if missing := set(range(1, script.LAST + 1)) - set(again) - said.stored_above:
        yield f"sent again and not taken: {sorted(missing)}"
    for number, body, _ in waiting:
        if number in said.sent and said.sent[number].fingerprint != crc32(body):
            yield f"number {number} of the stream is given to another record"


def _lane(outbox: Outbox, number: int) -> Lane:
    if number > AFTER:
        return outbox.express
    return next((lane for lane in outbox.sealed if lane.after < number <= (lane.last or 0)), outbox.live)


def _waiting(connection: sqlite3.Connection) -> list[tuple[int, bytes, int]]:
    """Return (number, body, seq or 0) of each record in the outbox."""
    segments = connection.execute("SELECT first, body FROM outbox ORDER BY first").fetchall()
    lines = [(first + at, line) for first, body in segments for at, line in enumerate(body.split(b"\n"))]
    return [(number, line, json.loads(line).get("seq") or 0) for number, line in lines]
