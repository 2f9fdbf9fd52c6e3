"""The replicated map as a state machine: its rules, its limits, and the same bytes at every member. (D2, D6)"""

import json
from pathlib import Path

import msgspec
import pytest

from cluster.commands import Client
from fieldloom_gateway.cluster.state import limits
from fieldloom_gateway.cluster.state.commands import (
    Command,
    Compare,
    Delete,
    Done,
    Expire,
    Lapsed,
    Open,
    Refused,
    Set,
    Touch,
    Transaction,
    Unmet,
    encode,
)
from fieldloom_gateway.cluster.state.errors import Compacted, NewerVersion
from fieldloom_gateway.cluster.state.history import History
from fieldloom_gateway.cluster.state.machine import ReplicatedMap


@pytest.fixture
def client():
    return Client()


def test_an_entry_tells_where_it_was_made_and_changed_and_how_often(client):
    made = client.set("a", b"1")
    again = client.set("a", b"2")

    entry = client.get("a")

    assert (made, again) == (Done(2, 1), Done(3, 1))
    assert (entry.value, entry.created, entry.modified, entry.version) == (b"2", 2, 3, 2)


def test_a_compare_that_does_not_hold_changes_nothing_and_tells_what_is_there(client):
    client.set("a", b"1")

    beaten = client.set("a", b"2", expected=0)
    won = client.set("a", b"3", expected=2)
    gone = client.delete("b", expected=7)

    assert (beaten, won, gone) == (Unmet(3, "a", 2, 2, 1), Done(4, 1), Unmet(5, "b", 0, 0, 0))
    assert client.get("a").value == b"3"


@pytest.mark.parametrize(
    ("attribute", "expected"), [("created", 2), ("modified", 3), ("version", 2), ("value", b"2")], ids=str
)
def test_each_attribute_can_be_compared(client, attribute, expected):
    client.set("a", b"1")
    client.set("a", b"2")

    holds = client.do(Delete("a"), compares=[Compare("a", attribute, expected)])
    absent = client.do(Set("a", b""), compares=[Compare("a", attribute, b"" if attribute == "value" else 0)])

    assert isinstance(holds, Done)
    assert isinstance(absent, Done)


def test_a_transaction_does_all_or_nothing(client):
    client.set("a", b"1")

    both = client.do(Set("b", b"2"), Delete("a"), compares=[Compare("a", "version", 1)])
    nothing = client.do(Set("c", b"3"), Touch("a"))

    assert (both, nothing.key) == (Done(3, 2), "a")
    assert [entry.key for entry in client.machine.entries] == ["b"]


def test_what_has_a_time_to_live_expires_unless_it_is_touched(client):
    client.set("a", ttl_ms=1000)
    client.set("b", ttl_ms=1000)
    client.now = 900
    client.touch("b")

    client.now = 999
    early = client.expire()
    client.now = 1000
    late = client.expire()

    assert (early.changed, late.changed) == (0, 1)
    changes = client.machine.history.after(early.index)
    assert [(one.key, one.entry, one.expired) for one in changes[0].changes] == [("a", None, True)]
    assert client.get("b").modified == 3  # a touch is no change


def test_what_is_renewed_after_the_leader_looked_does_not_expire(client):
    client.set("a", ttl_ms=1000)
    renewed = client.get("a").renewed
    client.now = 1000
    client.set("b")  # somebody's reckoning is ahead of that of who renews
    client.now = 0
    client.touch("a")
    client.now = 2000
    outcome = client.apply(Expire((("a", renewed), ("b", 3), ("absent", 1))))

    assert (outcome.changed, client.get("a").deadline) == (0, 2000)


def test_time_never_goes_back(client):
    client.now = 5000
    client.set("a", ttl_ms=1000)
    client.now = 10
    client.set("b", ttl_ms=1000)
    client.now = 6000
    client.expire()

    assert (client.machine.now, list(client.machine.entries)) == (6000, [])


def test_what_is_held_goes_with_its_holder(client):
    client.do(Set("member", b"", 1000), Set("service/1", b"", 0, "member"), Set("service/2", b"", 0, "member"))
    client.set("service/2", b"of nobody")
    client.now = 1000
    expired = client.expire()

    assert expired.changed == 2
    assert [entry.key for entry in client.machine.entries] == ["service/2"]


def test_a_holder_has_to_be_there_and_free(client):
    client.do(Set("h", b""), Set("a", b"", 0, "h"))

    def refused(*operations):
        outcome = client.do(*operations)
        assert isinstance(outcome, Refused), outcome
        return outcome.field, outcome.reason

    assert refused(Set("b", b"", 0, "x")) == ("operations[0].holder", "'x' is absent")
    assert refused(Set("b", b"", 0, "a")) == ("operations[0].holder", "'a' is held itself, by 'h'")
    assert refused(Delete("h"), Set("b", b"", 0, "h")) == ("operations[1].holder", "'h' is absent")
    assert refused(Set("h", b"", 0, "x"), Set("x", b"")) == ("operations[0].holder", "'h' holds others itself")
    assert refused(Set("b", b"", 0, "b")) == ("operations[0].holder", "an entry can't hold itself")


KEY, VALUE = "k" * (limits.KEY_BYTES + 1), b"v" * (limits.VALUE_BYTES + 1)


@pytest.mark.parametrize(
    ("transaction", "field", "reason"),
    [
        (Transaction((), (Set("", b""),)), "operations[0].key", "is empty"),
        (Transaction((), (Delete(KEY),)), "operations[0].key", "513 bytes are more than 512"),
        (Transaction((), (Set("a", VALUE),)), "operations[0].value", "65537 bytes are more than 65536"),
        (Transaction((), (Set("a", b"", -1),)), "operations[0].ttl_ms", "-1 is not from 0 to 31622400000"),
        (Transaction((), (Set("a", b"", 0, KEY),)), "operations[0].holder", "513 bytes are more than 512"),
        (Transaction((Compare(KEY, "version", 1),), ()), "compares[0].key", "513 bytes are more than 512"),
        (Transaction((Compare("a", "value", 1),), ()), "compares[0].expected", "must be bytes for value"),
        (Transaction((Compare("a", "version", b""),), ()), "compares[0].expected", "must be a number for version"),
        (Transaction((), (Touch("a"),) * 129), "operations", "129 are more than 128"),
        (Transaction((), (Set("a", b""), Delete("a"))), "operations[1].key", "'a' is in an operation before this one"),
        (
            Transaction((), tuple(Set(str(at), VALUE[1:]) for at in range(16))),
            "operations",
            "1048598 bytes are more than 1000000 a transaction",
        ),
    ],
)
def test_what_is_wrong_is_named(client, transaction, field, reason):
    outcome = client.do(*transaction.operations, compares=transaction.compares)

    assert outcome == Refused(field, reason)


def test_a_full_map_says_so_and_takes_what_needs_no_room(client, monkeypatch):
    monkeypatch.setattr(limits, "ENTRIES", 2)
    monkeypatch.setattr(limits, "TOTAL_BYTES", 12)
    client.do(Set("a", b"12345"), Set("b", b"1234"))

    assert client.set("c") == Refused("operations", "the map holds 2 entries at most, and is full")
    assert client.set("a", b"1234567") == Refused("operations", "the map holds 12 bytes at most, and is full")
    assert client.do(Set("c", b"1234"), Delete("b")) == Done(5, 2)
    assert client.set("a", b"1") == Done(6, 1)
    assert client.machine.entries.bytes == 7


def test_a_command_that_is_sent_again_takes_place_once(client):
    first = client.set("a", b"1", expected=0)
    again = client.repeat()

    assert (first, again) == (Done(2, 1), Done(2, 1))
    assert client.get("a").version == 1


def test_a_command_of_a_forgotten_session_does_not_take_place(client):
    for _ in range(limits.SESSIONS - 1):
        client.apply(Open("other"))
    kept = client.set("a")
    client.apply(Open("in the place of the first other"))
    still = client.set("b")
    for _ in range(limits.SESSIONS):
        client.apply(Open("other"))
    lapsed = client.set("c")

    assert (type(kept), type(still), lapsed) == (Done, Done, Lapsed())
    assert client.get("c") is None


def test_a_command_that_nobody_waits_for_any_more_does_not_take_place(client):
    late = Command(1, 0, client.session, 1, 0, Transaction((), (Set("late", b""),)))
    client.sequence = 1
    client.set("a")

    outcome = client.send(encode(late))

    assert (outcome.field, client.get("late")) == ("sequence", None)


def test_a_session_holds_so_many_outcomes(client):
    for number in range(limits.OUTCOMES):
        client.do(Set(str(number), b""), settle=False)

    full = client.do(Set("more", b""), settle=False)
    settled = client.do(Set("more", b""))

    assert full.field == "sequence"
    assert isinstance(settled, Done)


def test_what_no_version_wrote_is_refused_and_what_a_newer_one_wrote_stops_a_member(client):
    assert client.send(b"\xff").field == "command"
    assert client.send(b"").field == "command"

    newer = msgspec.msgpack.encode([2, 0, 0, 0, 0, ["unheard of"], "further"])
    with pytest.raises(NewerVersion, match="a command has version 2, this member knows 1: install the newer"):
        client.machine.apply(9, newer)
    with pytest.raises(NewerVersion, match="a snapshot has version 2, this member knows 1"):
        ReplicatedMap().restore(msgspec.msgpack.encode([2, "unheard of"]))


def test_a_snapshot_goes_on_at_another_member(client):
    client.set("a", b"1", ttl_ms=1000)
    client.do(Set("h", b""), Set("held", b"", 0, "h"))
    other = ReplicatedMap()

    other.restore(client.machine.snapshot())
    client.machine = other
    client.repeat()
    client.now = 1000
    client.expire()
    client.delete("h")

    assert list(other.entries) == []
    with pytest.raises(Compacted):
        other.history.after(1)


def test_a_query_gives_the_entries_below_a_prefix(client):
    client.set("a/1", b"1")
    client.set("b/1", b"2")

    found = msgspec.msgpack.decode(client.machine.query(b"b/"))

    assert found == [["b/1", b"2", 3, 3, 1, 0, 0, "", 3]]


def test_a_history_gives_what_it_holds_and_says_what_it_does_not(client):
    history = History(0, kept=4)
    for number in range(4):
        client.set(str(number))
    for changes in client.machine.history.after(0):
        history.add(changes)
    whole = [one.index for one in history.after(0)]
    client.set("4")
    history.add(client.machine.history.after(5)[0])

    assert whole == [2, 3, 4, 5]
    assert [one.index for one in history.after(3)] == [4, 5, 6]
    with pytest.raises(Compacted, match="changes after index 2 are gone, the oldest held are after 3: list anew"):
        history.after(2)


OLD = Path(__file__).parent / "old"


def test_a_log_of_version_1_gives_what_it_gave_then():
    kept = json.loads((OLD / "commands_1.json").read_text())
    machine = ReplicatedMap()

    outcomes = [machine.apply(at, bytes.fromhex(one["command"])).hex() for at, one in enumerate(kept["log"], 1)]

    assert outcomes == [one["outcome"] for one in kept["log"]]
    assert machine.snapshot().hex() == kept["snapshot"]


def test_a_snapshot_of_version_1_goes_on():
    kept = json.loads((OLD / "commands_1.json").read_text())
    machine = ReplicatedMap()

    machine.restore(bytes.fromhex(kept["snapshot"]))

    assert machine.entries.keys("") == ["free", "held", "holder"]
    assert machine.snapshot().hex() == kept["snapshot"]
