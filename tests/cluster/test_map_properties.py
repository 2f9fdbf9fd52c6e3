"""The replicated map against a plain dict in virtual time, and against itself over snapshots and batchings. (D2)"""

import dataclasses
from operator import itemgetter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.commands import Client
from fieldloom_gateway.cluster.state.commands import (
    Command,
    Compare,
    Delete,
    Done,
    Expire,
    Open,
    Set,
    Touch,
    Transaction,
    Unmet,
    encode,
)
from fieldloom_gateway.cluster.state.deadlines import Deadlines
from fieldloom_gateway.cluster.state.machine import ReplicatedMap

KEYS = st.sampled_from(["a", "a/1", "a/2", "b", "b/ä", "b/\U0010ffff", "c"])
VALUES = st.binary(max_size=3)


@dataclasses.dataclass
class Kept:
    value: bytes
    created: int
    modified: int
    version: int
    ttl_ms: int
    deadline: int
    holder: str


class MapAgainstDict(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.client = Client()
        self.kept = {}
        self.watched = {}
        self.watched_up_to = 0

    @property
    def now(self):
        return self.client.machine.now

    @rule(ms=st.integers(0, 700))
    def pass_time(self, ms):
        self.client.now += ms

    @rule(key=KEYS, value=VALUES, ttl_ms=st.sampled_from([0, 0, 500, 1500]), expected=st.sampled_from([None, 0, -1]))
    def set(self, key, value, ttl_ms, expected):
        found = self.kept.get(key)
        modified = found.modified if found else 0
        expected = modified if expected == -1 else expected
        outcome = self.client.set(key, value, expected=expected, ttl_ms=ttl_ms)

        assert isinstance(outcome, Done if expected in {None, modified} else Unmet)
        if isinstance(outcome, Done):
            self.keep(key, value, ttl_ms)

    @rule(key=KEYS, holder=KEYS, value=VALUES)
    def set_held(self, key, holder, value):
        outcome = self.client.set(key, value, holder=holder)
        holds = any(one.holder == key for one in self.kept.values())
        may = key != holder and holder in self.kept and not self.kept[holder].holder and not holds

        assert isinstance(outcome, Done) is may
        if may:
            self.keep(key, value, 0, holder)

    @rule(key=KEYS)
    def delete(self, key):
        assert self.client.delete(key).changed == self.remove(key)

    @rule(key=KEYS)
    def touch(self, key):
        outcome = self.client.touch(key)

        assert isinstance(outcome, Done) is (key in self.kept)
        if key in self.kept and self.kept[key].ttl_ms:
            self.kept[key].deadline = self.now + self.kept[key].ttl_ms

    @rule(writes=st.dictionaries(KEYS, VALUES, min_size=1, max_size=3), compared=KEYS, absent=st.booleans())
    def transact(self, writes, compared, absent):
        operations = [Set(key, value) for key, value in writes.items()]
        outcome = self.client.do(*operations, compares=[Compare(compared, "version", 0)] if absent else [])
        holds = not absent or compared not in self.kept

        assert isinstance(outcome, Done) is holds
        for key, value in writes.items() if holds else ():
            self.keep(key, value, 0)

    @rule()
    def expire(self):
        self.client.expire()
        for key in [key for key, one in self.kept.items() if one.deadline and one.deadline <= self.now]:
            self.remove(key)

    @precondition(lambda self: self.client.sequence)
    @rule()
    def send_again(self):
        before = self.client.machine.entries.bytes
        command = next(one for _, one in reversed(self.client.log) if b"test" not in one)
        self.client.send(command)
        assert self.client.machine.entries.bytes == before

    @rule()
    def go_on_elsewhere(self):
        self.watch()
        other = ReplicatedMap()
        other.restore(self.client.machine.snapshot())
        self.client.machine = other

    @invariant()
    def holds_the_same(self):
        entries = self.client.machine.entries
        assert {entry.key: as_kept(entry) for entry in entries} == self.kept
        for prefix in ("", "a", "a/", "b/", "b/\U0010ffff", "c/"):
            assert entries.keys(prefix) == sorted(key for key in self.kept if key.startswith(prefix))
        deadlines = [one.deadline for one in self.kept.values() if one.deadline]
        assert entries.next_deadline() == min(deadlines, default=None)
        assert entries.bytes == sum(len(key.encode()) + len(one.value) for key, one in self.kept.items())

    @invariant()
    def watch(self):
        for changes in self.client.machine.history.after(self.watched_up_to):
            for change in changes.changes:
                self.watched.pop(change.key, None)
                if change.entry is not None:
                    self.watched[change.key] = change.entry.value
        self.watched_up_to = self.client.machine.index
        assert self.watched == {key: one.value for key, one in self.kept.items()}

    def keep(self, key, value, ttl_ms, holder=""):
        found = self.kept.get(key)
        created, version = (found.created, found.version + 1) if found else (self.client.index, 1)
        deadline = self.now + ttl_ms if ttl_ms else 0
        self.kept[key] = Kept(value, created, self.client.index, version, ttl_ms, deadline, holder)

    def remove(self, key):
        if key not in self.kept:
            return 0
        gone = [key, *(name for name, one in self.kept.items() if one.holder == key)]
        for name in gone:
            del self.kept[name]
        return len(gone)


def as_kept(entry):
    return Kept(entry.value, entry.created, entry.modified, entry.version, entry.ttl_ms, entry.deadline, entry.holder)


TestMapAgainstDict = MapAgainstDict.TestCase
TestMapAgainstDict.settings = settings(max_examples=40, stateful_step_count=30)

OPERATIONS = st.one_of(
    st.builds(Set, KEYS, VALUES, st.sampled_from([0, 300]), st.sampled_from(["", "", "a"])),
    st.builds(Delete, KEYS),
    st.builds(Touch, KEYS),
)
COMPARES = st.builds(Compare, KEYS, st.sampled_from(["created", "modified", "version"]), st.integers(0, 5))
BODIES = st.one_of(
    st.builds(Open, st.just("gw.x")),
    st.builds(Expire, st.lists(st.tuples(KEYS, st.integers(0, 30)), max_size=3).map(tuple)),
    st.builds(Transaction, st.lists(COMPARES, max_size=1).map(tuple), st.lists(OPERATIONS, max_size=3).map(tuple)),
)
COMMANDS = st.one_of(
    st.builds(
        lambda *fields: encode(Command(1, *fields)),
        st.integers(0, 2000),
        st.integers(0, 3),
        st.integers(1, 6),
        st.integers(0, 3),
        BODIES,
    ),
    st.binary(max_size=5).filter(lambda body: body[:1] not in {b"\x92", b"\x93", b"\x94", b"\x95", b"\x96"}),
)


@given(commands=st.lists(COMMANDS, max_size=25), data=st.data())
@settings(max_examples=60)
def test_snapshots_at_any_point_make_no_difference(commands, data):
    opened = [encode(Command(1, 0, 0, 0, 0, Open("gw.a")))] * 3
    log = list(enumerate(opened + commands, 1))
    cut = data.draw(st.integers(0, len(log)))

    outcomes = []
    machines = [ReplicatedMap() for _ in range(3)]
    for at, (index, command) in enumerate(log):
        if at == cut:
            machines[1] = restored(machines[1])
        machines[2] = restored(machines[2])  # at each index
        outcomes.append({machine.apply(index, command) for machine in machines})

    assert max(map(len, outcomes)) == 1
    assert len({machine.snapshot() for machine in machines}) == 1


def restored(machine):
    other = ReplicatedMap()
    other.restore(machine.snapshot())
    return other


@given(st.lists(st.tuples(KEYS, st.integers(0, 50), st.booleans()), max_size=60), st.integers(0, 60))
def test_deadlines_come_due_in_order(steps, now):
    deadlines, plain = Deadlines(), {}
    for key, deadline, is_set in steps:
        if is_set:
            deadlines.set(key, deadline)
            plain[key] = deadline
        else:
            deadlines.drop(key)
            plain.pop(key, None)
        assert deadlines.next() == min(plain.values(), default=None)

    due = [(deadline, key) for key, deadline in plain.items() if deadline <= now]
    assert deadlines.due(now) == list(map(itemgetter(1), sorted(due)))
    assert deadlines.due(now) == list(map(itemgetter(1), sorted(due)))
