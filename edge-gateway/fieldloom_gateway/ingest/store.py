"""What a gateway has taken: a group of messages goes to the disk in one transaction, and only then is acknowledged.

All of it runs on one thread; the uplink reads from another connection.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import msgspec

from fieldloom_contract import messages, renewal, topics, update
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import optional_number
from fieldloom_contract.limits import MAX_AHEAD_MS, MIN_TS
from fieldloom_contract.messages import Fault
from fieldloom_contract.ranges import Ranges
from fieldloom_contract.stream import fingerprint
from fieldloom_engine.transformers.chains import Chains
from fieldloom_gateway.adapters import base
from fieldloom_gateway.adapters.factory import BROKER
from fieldloom_gateway.ingest import readings
from fieldloom_gateway.ingest.ballast import Ballast
from fieldloom_gateway.ingest.burying import Burying, NotReplayed, again, letter_of, verb_of
from fieldloom_gateway.ingest.dating import date
from fieldloom_gateway.ingest.down import Down, Ways
from fieldloom_gateway.ingest.express import Express
from fieldloom_gateway.ingest.finding import Finding
from fieldloom_gateway.ingest.judge import Downward, Judge, Order
from fieldloom_gateway.ingest.keys import Keys
from fieldloom_gateway.ingest.letters import DeadLetters
from fieldloom_gateway.ingest.presence import Presence
from fieldloom_gateway.ingest.pressure import Pressure
from fieldloom_gateway.ingest.readings import Reading
from fieldloom_gateway.ingest.renewals import Renewals
from fieldloom_gateway.ingest.revocations import Revocations
from fieldloom_gateway.ingest.room import Room
from fieldloom_gateway.ingest.sealing import seal
from fieldloom_gateway.ingest.segments import Segments
from fieldloom_gateway.ingest.transforming import Transforming
from fieldloom_gateway.ingest.twins import Twins
from fieldloom_gateway.settings import Policy
from fieldloom_runtime.down import ForAutomation, Removed, Rule
from fieldloom_runtime.records import (
    CertificateRequest,
    Discovered,
    Event,
    Record,
    Reported,
    Result,
    Telemetry,
)

KINDS: dict[str, type[Record]] = {
    topics.TELEMETRY: Telemetry,
    topics.EVENT: Event,
    topics.RESULT: Result,
    topics.REPORTED: Reported,
}
BY_GATEWAY = "gateway"
TAKEN, REFUSED_GAPS = "records", "refused_gaps"
# A board has a window of 64 records in flight: one that leaves more gaps than that in a boot is not believed.
MAX_SPANS = 256
# SQLite writes its log back within the commit that fills 1,000 pages of it; so many small ones fill half of that.
WRITE_BACK_AFTER = 32
LIVES_IN_MEMORY = 10_000

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode  # for ranges, of which a device and group costs one: ten times as quick as json


class Arrival(NamedTuple):
    """A message of a device, as its topic and payload came in."""

    device: str
    verb: str
    payload: bytes
    topic: str
    place: int = 0
    """In its group."""
    fault: base.Fault | None = None
    """What the adapter has found wrong with it."""
    key: str | None = None
    """Its sender's own mark."""
    slot: base.Slot | None = None
    """Whose mark it is, if not the device's."""
    adapter: str = BROKER


class Ack(NamedTuple):
    """What a device is to be told."""

    device: str
    boot: int | None
    seq: int | None
    error: str | None = None
    refused: int | None = None


@dataclass
class Taken:
    """What became of a group of messages."""

    heard: set[tuple[str, int]] = field(default_factory=set)
    """(device, boot) of the records that came: each is acknowledged once, before what was refused."""
    acks: list[Ack] = field(default_factory=list)
    greeted: set[str] = field(default_factory=set)
    """Devices that came online, or told that they are there: they get time, acknowledgement and waiting commands."""
    answers: list[Downward] = field(default_factory=list)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """What devices ask for of a release, as the contract parses it."""
    found: list[Discovered] = field(default_factory=list)
    """Devices that were told of as being there."""
    counts: Counter[str] = field(default_factory=Counter)
    outcomes: dict[int, base.Outcome] = field(default_factory=dict)
    """By place in the group, of messages that were not simply taken."""

    def refuse(self, place: int, *faults: base.Fault) -> None:
        """Take note that something of a message is bad."""
        had = self.outcomes.get(place, base.TAKEN)
        self.outcomes[place] = base.Outcome(base.Verdict.REFUSED, had.faults + faults)


class Store:
    """The durable half of the ingest. Not thread-safe: one thread at a time calls it."""

    def __init__(self, connection: sqlite3.Connection, outbox_bytes: int, policy: Policy = "refuse") -> None:
        self._db = connection
        self._ballast: Ballast | None = None
        self._commits = 0
        """Since SQLite's log was written back."""
        self.letters = DeadLetters(connection)
        self._received: dict[tuple[str, int], Ranges] = {}
        self._touched: set[tuple[str, int]] = set()
        self._segments = Segments(connection)
        self._judge: Judge | None = None
        self.room = Room(connection, self._segments, outbox_bytes, policy)
        self.revocations = Revocations(connection)
        self._renewals = Renewals(connection)
        self.presence = Presence(connection)
        self._keys = Keys(connection)
        self.twins = Twins(connection, self._send_up)
        owners = (self.revocations, self._renewals, self.twins)
        ways = Ways(self._send_up, self._hear_record, self._take_automation, self._admit)
        self.down = Down(connection, self._transaction, ways, *owners)
        self._burying = Burying(self.letters, self._segments.add)
        self._finding = Finding(self._segments.add)
        bury_failed = self._burying.bury_failed
        self.transforming = Transforming(connection, self._send_up, self._segments.cover, bury_failed)

    def attend(self, judge: Judge) -> None:
        """Have all that goes up judged."""
        self._judge = judge

    def take(self, group: list[Arrival], now: int) -> Taken:
        """Commit a group and return what is to be said. Raises sqlite3.Error; then nothing of the group was taken."""
        taken = Taken()
        with self._transaction():
            if given_up := self.room.make(sum(len(arrival.payload) for arrival in group), now):
                taken.counts["lost"] += given_up
            for arrival in group:
                self._take_one(arrival, now, taken)
            lives = sorted(taken.heard)
            taken.acks[:0] = [Ack(device, boot, self._ranges(device, boot).end) for device, boot in lives]
            self._write_ranges()
        taken.answers += self.messages()
        self.room.look(now)
        if len(self._received) > LIVES_IN_MEMORY:
            self._received.clear()
        return taken

    def commit(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call something in a transaction of its own, and return what it returns. Raises sqlite3.Error."""
        with self._transaction():
            return call(*arguments)

    @property
    def has_to_write_back(self) -> bool:
        """Whether `write_back` would spare a commit from doing it; on any thread."""
        return self._commits >= WRITE_BACK_AFTER

    def write_back(self) -> None:
        """Write SQLite's log back into its file. Within a commit, all of its group would wait several times as long."""
        self._commits = 0
        with suppress(sqlite3.Error):  # commits meet what is wrong too, and tell of it
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def prepare(self, told: Rule) -> None:
        """Do what takes long of a rule that the cloud has sent; on any thread, before it is taken."""
        if self._judge is not None:
            self._judge.prepare(told)

    def make_room(self, size: int, now: int) -> bool:
        """Make room for so many bytes as the policy says, with the transaction that is open; whether there is any."""
        self.room.make(size, now)
        return not self.room.is_full(size)

    def bury(self, topic: str, payload: bytes, reason: str, now: int) -> None:
        """Keep a message of no device with the dead letters, with the transaction that is open."""
        self._burying.bury(letter_of("", topic, payload, (None, None), reason, now))

    def send_up(self, record: Record) -> None:
        """Send a record up with the transaction that is open; nobody judges it."""
        self._segments.add(record)

    def answer(self, record: Record) -> None:
        """Send a record up with the transaction that is open, and have those hear it who wait for it here."""
        self._send_up(record)

    def messages(self) -> list[Downward]:
        """Return what devices are to be told of what was committed since it was asked last."""
        return [] if self._judge is None else self._judge.messages()

    def received_up_to(self, device: str, boot: int) -> int:
        """Return the last seq of a boot before which none is missing."""
        return self._ranges(device, boot).end

    def begin_finding(self) -> None:
        """Begin a round of discovery: devices that can't be asked are told of again when they are heard. (C8)"""
        self._finding.begin()
        self.down.here.clear()  # who has left while nobody listened does not answer

    def acknowledgement(self, device: str) -> Ack | None:
        """Return what a device that came online is told of its present boot."""
        boot = self.presence.boot(device)
        return None if boot is None else Ack(device, boot, self._ranges(device, boot).end)

    def miss(self, now: int) -> int:
        """Tell the cloud of devices that have missed their wake; return how many. (F9)"""
        late = self.presence.late(now)
        if late:
            with self._transaction():
                for told in late:
                    self._send_up(told)
                    self.presence.miss(told.device)
        return len(late)

    def use_chains(self, chains: Chains | None, text: str, now: int) -> None:
        """Take other chains of transformers; their text is kept as the last good one."""
        with self._transaction():
            self.transforming.use(chains, now)
            if text != self.chains_text():  # else a full disk has nothing to refuse
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('transformers', ?)", (text,))

    def chains_text(self) -> str:
        """Return the text of the last good chains, empty without any."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'transformers'").fetchone()
        return row[0] if row else ""

    def close_idle_windows(self, now: int) -> int:
        """Send up the windows of devices that are silent; return how many records that made. (T2)"""
        if not self.transforming.open_windows:
            return 0
        with self._transaction():
            return self.transforming.close_idle(now)

    def drop_older(self, than: int, now: int) -> int:
        """Give up what has waited since before a time, Unix ms; return how many records that were. (T4)"""
        with self._transaction():
            return self.room.drop_older(than, now)

    def ease(self, factor: int, now: int) -> int:
        """Have devices report less often by a factor while the outbox is nearly full; return how many changed. (T6)"""
        with self._transaction():
            return Pressure(self._db, self.twins, factor).look(self.room.fullness, now)

    def replay(self, number: int, now: int) -> None:
        """Put a dead letter through the ingest again, and remove it if it is taken now; else it gets the new reason.

        Raises KeyError without such a letter, NotReplayed with the reason.
        """
        letter = self.letters.one(number)
        if letter is None:
            raise KeyError(number)
        try:
            arrival = Arrival(letter.device, verb_of(letter), again(letter), letter.topic)
            with self._transaction():
                self._replay(arrival, now)
                self.letters.remove(letter)
        except NotReplayed as error:
            with self._transaction():
                self.letters.renew(number, str(error))
            raise

    def drop_letter(self, number: int) -> None:
        """Forget a dead letter. Raises KeyError without such a letter."""
        letter = self.letters.one(number)
        if letter is None:
            raise KeyError(number)
        with self._transaction():
            self.letters.remove(letter)

    def hold(self, ballast: Ballast) -> None:
        """Keep some room on the disk for the day when it is full."""
        self._ballast = ballast
        ballast.hold()

    @property
    def express(self) -> Express:
        """Who overtakes what waits."""
        return self._segments.express

    def seal(self, least: int, drawn: bytes) -> bool:
        """Seal the stream that is written to, if so many bytes of it wait at least, and begin another one.

        `drawn` are random bytes for its name. Say whether it was done. Raises sqlite3.Error. (ADR 32)
        """
        with self._transaction():
            return seal(self._db, least, drawn)

    def trim(self, number: int, after: int = 0) -> None:
        """Forget what the cloud has: the records above `after`, up to a number.

        Raises sqlite3.Error; what it has not forgotten then it forgets when it is told again.
        """
        try:
            self._segments.trim(number, after)
        except sqlite3.OperationalError:
            if self._ballast is None:
                raise
            self._ballast.let_go()
            self._write_back()
            self._segments.trim(number, after)
        if self._ballast is not None:
            self._ballast.hold()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit at the end, or undo all: what memory took is then forgotten and read again from the disk."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.transforming.write()
            if self._judge is not None:
                self._judge.write()
            self._segments.write()
            self._db.execute("COMMIT")
            self._commits += 1
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                self._write_back()
            self._received.clear()
            self._touched.clear()
            self._segments.forget()
            self.transforming.forget()
            self.letters.forget()
            self.room.forget()
            self._finding.begin()
            self.down.forget()
            if self._judge is not None:
                self._judge.forget()
            raise

    def _take_automation(self, told: ForAutomation | Removed, now: int) -> None:
        if self._judge is not None:
            self._judge.take_down(told, now)

    def _admit(self, order: Order, now: int) -> bool:
        return self._judge is None or self._judge.admit(order, now)

    def _send_up(self, record: Record) -> None:
        self._segments.add(record)
        self._hear_record(record)

    def _hear_record(self, record: Record) -> None:
        if self._judge is not None:
            self._judge.hear(record)

    def _write_back(self) -> None:
        """Empty SQLite's log into the database, if that can be: on a full disk it is the log that finds no room."""
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _take_one(self, arrival: Arrival, now: int, taken: Taken) -> None:
        taken.counts["messages"] += 1
        is_full = self.room.is_full(len(arrival.payload))
        if is_full and arrival.verb != topics.UPDATE_REQUEST:
            taken.counts["refused_full"] += 1
            taken.outcomes[arrival.place] = base.BUSY
            return
        if arrival.adapter == BROKER:
            self.down.here.add(arrival.device)
        else:
            self._hear(arrival, now, taken)
        try:
            if arrival.fault is not None:
                raise Rejected(*arrival.fault)
            if arrival.key is None:
                self._take_verb(arrival, now, taken)
            else:
                self._take_once(arrival, arrival.key, now, taken)
        except Rejected as error:
            if is_full:  # a good request takes no room, and this has none for a bad one
                taken.counts["refused_full"] += 1
                taken.outcomes[arrival.place] = base.BUSY
                return
            self._bury(arrival, (None, None), str(error), now)
            taken.counts["unreadable"] += 1
            taken.refuse(arrival.place, base.Fault(error.field, error.reason))
            if arrival.verb in topics.UP_STREAM:
                self._refuse(arrival, str(error), taken)

    def _hear(self, arrival: Arrival, now: int, taken: Taken) -> None:
        """Tell of a device that is there, unless it says so itself."""
        if not arrival.device or arrival.verb == topics.DISCOVERY:
            return
        found = self._finding.hear(arrival.device, arrival.adapter, now)
        if found is not None:
            taken.found.append(found)

    def _take_once(self, arrival: Arrival, key: str, now: int, taken: Taken) -> None:
        """Take a message that bears its sender's mark, unless it was taken before."""
        owner = arrival.device if arrival.slot is None else arrival.slot.name
        if arrival.slot is not None and not arrival.slot.is_repeat:
            self._keys.clear(owner)
        before = self._keys.outcome(owner, key)
        if before is not None:
            taken.counts["duplicates"] += 1
            taken.outcomes[arrival.place] = before
            return
        self._take_verb(arrival, now, taken)
        outcome = taken.outcomes.get(arrival.place, base.TAKEN)
        if outcome.verdict != base.Verdict.BUSY:
            self._keys.keep(owner, key, outcome, now)

    def _take_verb(self, arrival: Arrival, now: int, taken: Taken) -> None:
        if arrival.verb in topics.UP_STREAM:
            self._take_records(arrival, now, taken)
        elif arrival.verb == topics.STATE:
            self._take_state(arrival, now, taken)
        elif arrival.verb == topics.CERTIFICATE_REQUEST:
            self._take_certificate_request(arrival, now, taken)
        elif arrival.verb == topics.DISCOVERY:
            told = messages.parse_discovery(arrival.payload)["device"]
            version = optional_number(told, "twin", 0) or 0
            taken.found.append(self._finding.answer(arrival.device, arrival.adapter, told, now))
            self.twins.meet(arrival.device, version, now)
            if self.transforming.meet(arrival.device, told) and self._judge is not None:
                self._judge.retarget()
            taken.greeted.add(arrival.device)
        elif arrival.verb == topics.UPDATE_REQUEST:
            taken.requests.append((arrival.device, update.parse_request(arrival.payload)))
        else:
            raise Rejected("topic", "is not known to this gateway")

    def _take_records(self, arrival: Arrival, now: int, taken: Taken) -> None:
        plain = readings.decode(arrival.payload) if arrival.verb == topics.TELEMETRY else None
        if plain is not None:
            self._take_readings(arrival, plain, now, taken)
            return
        records, faults = messages.parse_records(arrival.verb, arrival.payload)
        lives = {record["boot"] for record in records} | {fault.boot for fault in faults}
        for record in records:
            self._take_record(arrival, record, now, taken)
        for fault in faults:
            if fault.seq is not None:
                self._take_fault(arrival, fault, now, taken)
        taken.heard.update((arrival.device, boot) for boot in lives - {None})
        unreadable = [fault for fault in faults if fault.seq is None]
        if unreadable:
            reason = f"{unreadable[0].field}: {unreadable[0].reason}"
            also = f" (and {len(unreadable) - 1} more of this message)" if len(unreadable) > 1 else ""
            taken.counts["faults"] += len(unreadable)
            self._bury(arrival, (None, None), reason + also, now)
            taken.refuse(arrival.place, *(base.Fault(fault.field, fault.reason) for fault in unreadable))
            self._refuse(arrival, reason, taken)

    def _take_readings(self, arrival: Arrival, plain: list[Reading], now: int, taken: Taken) -> None:
        """Take telemetry that is plainly right: the hot path of the gateway."""
        device, newest = arrival.device, now + MAX_AHEAD_MS
        for reading in plain:
            taken.heard.add((device, reading.boot))
            outcome = self._receive(device, reading.boot, reading.seq, reading.first)
            taken.counts[outcome] += 1
            if outcome != TAKEN:
                self._hold_back(arrival, outcome, taken)
                continue
            told = Telemetry(device, reading.ts, now, reading.boot, reading.seq, values=reading.values)
            told.traceparent = reading.traceparent
            if not MIN_TS <= reading.ts <= newest:
                told.ts, told.clock = now, BY_GATEWAY
            if self.transforming.chains is None:
                self._send_up(told)
            else:
                self._transform(told, now)

    def _take_record(self, arrival: Arrival, record: dict[str, Any], now: int, taken: Taken) -> None:
        boot, seq = record["boot"], record["seq"]
        outcome = TAKEN if boot is None else self._receive(arrival.device, boot, seq, record["first"])
        taken.counts[outcome] += 1
        if outcome != TAKEN:
            self._hold_back(arrival, outcome, taken)
            return
        ts, by_gateway = date(record, now, self.presence.started_at(arrival.device, boot))
        told = {name: value for name, value in record.items() if name not in ("first", "up", "ts")}
        clock = BY_GATEWAY if by_gateway else None
        sent = KINDS[arrival.verb](device=arrival.device, ts=ts, at=now, clock=clock, **told)
        if isinstance(sent, Result) and sent.status in messages.FINAL_STATUSES:
            sent.moved = self.down.finish(sent)
        if isinstance(sent, Telemetry):
            self._transform(sent, now)
        else:
            self._send_up(sent)
        if arrival.verb == topics.REPORTED:
            self.twins.hear(arrival.device, told, now)

    def _transform(self, record: Telemetry, now: int) -> None:
        in_order = True
        if record.boot is not None and record.seq is not None:
            in_order = self._ranges(record.device, record.boot).end >= record.seq
        self.transforming.take(record, now, in_order=in_order)

    def _take_fault(self, arrival: Arrival, fault: Fault, now: int, taken: Taken) -> None:
        outcome = self._receive(arrival.device, fault.boot, fault.seq, None)
        taken.counts["faults" if outcome == TAKEN else outcome] += 1
        self._hold_back(arrival, outcome, taken)
        if outcome != REFUSED_GAPS:
            taken.refuse(arrival.place, base.Fault(fault.field, fault.reason))
        if outcome == TAKEN:
            guilty = arrival._replace(payload=_encoded(fault.record, arrival.payload))
            self._bury(guilty, (fault.boot, fault.seq), f"{fault.field}: {fault.reason}", now)

    def _take_state(self, arrival: Arrival, now: int, taken: Taken) -> None:
        state = messages.parse_state(arrival.payload)
        told = self.presence.take(arrival.device, state, now)
        if told is None:
            return
        self._send_up(told)
        if not told.online:
            self.down.leave(arrival.device)
            return
        self.twins.meet(arrival.device, state.get("twin") or 0, now)
        taken.greeted.add(arrival.device)

    def _take_certificate_request(self, arrival: Arrival, now: int, taken: Taken) -> None:
        csr = renewal.parse_request(arrival.payload)
        answer = self._renewals.answer(arrival.device, csr)
        if answer is not None:
            taken.answers.append(Downward(arrival.device, topics.CERTIFICATE, answer))
        else:
            self._segments.add(CertificateRequest(device=arrival.device, ts=now, at=now, csr=csr))

    def _hold_back(self, arrival: Arrival, outcome: str, taken: Taken) -> None:
        """Have a message sent again of which a record was not taken, and did not come before either."""
        if outcome == REFUSED_GAPS:
            taken.outcomes.setdefault(arrival.place, base.BUSY)

    def _refuse(self, arrival: Arrival, reason: str, taken: Taken) -> None:
        ack = self.acknowledgement(arrival.device)
        boot, seq = (ack.boot, ack.seq) if ack else (None, None)
        taken.acks.append(Ack(arrival.device, boot, seq, reason, fingerprint(arrival.payload)))

    def _bury(self, arrival: Arrival, number: tuple[int | None, int | None], reason: str, now: int) -> None:
        """Keep what could not be used; `number` is (boot, seq), where they could be read."""
        self._burying.bury(letter_of(arrival.device, arrival.topic, arrival.payload, number, reason, now))

    def _replay(self, arrival: Arrival, now: int) -> None:
        self._burying.last = None
        taken = Taken()
        self._take_one(arrival, now, taken)
        self._write_ranges()
        refused = self._burying.last
        if taken.counts["refused_full"]:
            refused = "the outbox is full"
        elif taken.counts[REFUSED_GAPS]:
            refused = "its boot has too many gaps"
        if refused is not None:
            raise NotReplayed(refused)

    def _receive(self, device: str, boot: int, seq: int, first: int | None) -> str:
        """Take note of a record and return what it counts as: taken, a duplicate, or apart in a boot full of gaps."""
        had = self._ranges(device, boot)
        self._touched.add((device, boot))
        if first is not None:
            had.settle(first)
        if len(had.spans) >= MAX_SPANS and not any(low - 1 <= seq <= high + 1 for low, high in had.spans):
            return REFUSED_GAPS
        return TAKEN if had.add(seq) else "duplicates"

    def _ranges(self, device: str, boot: int) -> Ranges:
        had = self._received.get((device, boot))
        if had is None:
            query = "SELECT spans FROM received WHERE device = ? AND boot = ?"
            row = self._db.execute(query, (device, boot)).fetchone()
            had = self._received[(device, boot)] = Ranges(json.loads(row[0]) if row else [])
        return had

    def _write_ranges(self) -> None:
        rows = [(*life, _encode(self._received[life].spans).decode()) for life in self._touched]
        self._db.executemany("INSERT OR REPLACE INTO received VALUES (?, ?, ?)", rows)
        self._touched.clear()


def _encoded(record: Any, otherwise: bytes) -> bytes:
    try:
        return messages.dumps(record)
    except RecursionError:
        return otherwise
