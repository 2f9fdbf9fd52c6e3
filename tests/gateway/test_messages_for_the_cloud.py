"""Messages on the site's topics for which workflows of the cloud wait: heard, and sent up once. (W4, T1)"""

import itertools
import json
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_contract.errors import Rejected
from fieldloom_engine.rules import Event as Judged
from fieldloom_gateway.automation.workflows.messages import SiteMessage
from fieldloom_runtime import down, site_messages
from fieldloom_runtime.records import DeadLetter, decode, encode
from gateway.test_workflows import COOLING, GATEWAY, NOW, Gateway

numbers = itertools.count()
ORDER = {"id": "o-1", "litres": 3}


@pytest.fixture
async def gateway(disk):
    gateway = await Gateway(disk).start()
    yield gateway
    await gateway.stop()


def take(gateway, topic, payload, drawn=None):
    """Take a message as the listener does, which has it acknowledged if it was taken."""
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    message = SiteMessage(topic, payload, drawn or f"{next(numbers):032x}")
    return gateway.store.commit(gateway.automation.take_message, message, gateway.now)


def listen(gateway, *filters):
    gateway.hear(down.Topics([*filters]))


def heard(gateway):
    return [one.data for one in gateway.events("workflow.message")]


def answers(gateway):
    return [one.data["topics"] for one in gateway.events("workflow.listening")]


async def test_what_the_cloud_wants_to_hear_goes_up_with_the_same_id_when_it_comes_again(gateway):
    """(W4)"""
    take(gateway, "site/orders/7", ORDER)
    assert not gateway.service.wants_messages

    listen(gateway, "site/orders/+")
    for _ in range(2):
        take(gateway, "site/orders/7", ORDER)
    take(gateway, "site/orders/8", ORDER)
    take(gateway, "site/others", ORDER)
    take(gateway, "site/orders/8", {"litres": 4}, "d-1")

    first, again, other, nameless = gateway.events("workflow.message")
    assert (first.device, first.ts, first.boot) == (GATEWAY, NOW, None)
    assert first.data == again.data == {"id": first.data["id"], "topic": "site/orders/7", "payload": ORDER}
    assert other.data["id"] != first.data["id"]
    assert (nameless.data["id"], nameless.data["payload"]) == ("d-1", {"litres": 4})
    assert (gateway.service.wants_messages, answers(gateway)) == (True, [["site/orders/+"]])


async def test_it_listens_on_after_a_kill_and_only_to_what_it_was_told_last(gateway):
    """(W4)"""
    listen(gateway, "site/a", "site/b")
    await gateway.kill()
    take(gateway, "site/a", ORDER)
    listen(gateway, "site/b")
    take(gateway, "site/a", ORDER)
    take(gateway, "site/b", ORDER)

    assert [one["topic"] for one in heard(gateway)] == ["site/a", "site/b"]
    listen(gateway)
    take(gateway, "site/b", ORDER)
    assert (len(heard(gateway)), gateway.service.wants_messages) == (2, False)


async def test_a_disk_that_refuses_what_it_is_told_leaves_it_to_listen_as_before(gateway, monkeypatch):
    """(W4)"""
    listen(gateway, "site/a")

    def refuse():
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched, pytest.raises(sqlite3.OperationalError):
        patched.setattr(gateway.store._segments, "write", refuse)
        listen(gateway, "site/b")
    take(gateway, "site/a", ORDER)
    take(gateway, "site/b", ORDER)

    assert [one["topic"] for one in heard(gateway)] == ["site/a"]


async def test_what_does_not_fit_into_the_outbox_is_not_acknowledged_and_comes_again(gateway):
    """(W4, T4)"""
    listen(gateway, "site/a")
    gateway.store.room.limit, before = 0, gateway.store.room.limit
    taken = [take(gateway, topic, ORDER) for topic in ("site/a", "site/b")]
    assert (taken, heard(gateway)) == ([False, True], [])

    gateway.store.room.limit = before
    assert take(gateway, "site/a", ORDER)
    assert (len(heard(gateway)), gateway.service.counts) == (1, {"messages_without_room": 1})


def deep(levels):
    return {"in": deep(levels - 1)} if levels > 1 else {}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"litres: 4", "payload: is no JSON"),
        (b"[4]", "payload: must be a JSON object"),
        (json.dumps({"text": "\0"}).encode(), "payload: holds a text with NUL or half a surrogate pair"),
        (json.dumps({"n": 2**63}).encode(), "payload: holds a whole number of more than 64 bits"),
        (json.dumps(deep(16)).encode(), "payload: is nested too deeply"),
        (json.dumps({"text": "x" * 65_500}).encode(), "payload: has 65692 bytes with its topic, at most 65536 go up"),
        (json.dumps({"text": "x" * 65_536}).encode(), "payload: has 65548 bytes, at most 65536 are allowed"),
    ],
    ids=["text", "array", "nul", "large number", "deep", "large with its topic", "large"],
)
async def test_what_no_cloud_would_keep_is_a_dead_letter_with_its_reason(gateway, payload, reason):
    """(W4, T1)"""
    listen(gateway, "site/+")

    take(gateway, "site/orders", payload)

    (letter,) = [one for one in gateway.sent if isinstance(one, DeadLetter)]
    assert (heard(gateway), letter.topic, letter.reason) == ([], "site/orders", reason)


async def test_the_deepest_message_that_goes_up_is_one_that_the_cloud_takes(gateway):
    listen(gateway, "site/+")

    take(gateway, "site/orders", deep(15))

    assert heard(gateway)[0]["payload"] == deep(15)


async def test_a_workflow_here_and_one_of_the_cloud_hear_the_same_message(gateway):
    """(W4)"""
    gateway.deploy({**COOLING, "triggers": [{"message": {"topic": "site/+"}, "overlap": "allow"}]})
    listen(gateway, "site/a")
    take(gateway, "site/a", {"level": 3, "text": "x" * 65_500})  # what can't go up is taken here all the same
    take(gateway, "site/b", {"level": 4})
    listen(gateway)
    await gateway.settle()

    started = {one.variables["level"] for one in gateway.runtime.all()}
    assert (started, heard(gateway), gateway.service.wants_messages) == ({3, 4}, [], True)


async def test_a_gateway_that_was_updated_has_the_cloud_say_once_what_it_wants_to_hear(gateway):
    """(W4)"""

    def introduce():
        gateway.store.commit(gateway.service.listening.introduce, NOW)

    introduce()  # a new one: the cloud tells it by itself
    assert answers(gateway) == []

    gateway.hear(down.Workflows({}))
    gateway.db.execute("DELETE FROM meta WHERE key = 'cloud_topics'")  # as an older gateway leaves it
    introduce()
    introduce()
    assert answers(gateway) == [None]


@pytest.mark.parametrize("type_", ["workflow.message", "workflow.listening"])
async def test_no_device_tells_what_only_a_gateway_hears(gateway, type_):
    """(W4)"""
    await gateway.take(type_, id="x", topic="site/orders", payload=ORDER)

    assert gateway.events(type_) == []
    assert [one.reason.startswith("type: is of those") for one in gateway.sent if isinstance(one, DeadLetter)] == [True]


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
scalars = st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False) | texts
values = st.recursive(scalars, lambda parts: st.lists(parts, max_size=3) | st.dictionaries(texts, parts, max_size=3))


@settings(max_examples=100)
@given(topic=texts, payload=st.dictionaries(texts, values, max_size=3), id_=st.text("0123456789abcdef", min_size=1))
def test_what_goes_up_is_in_the_cloud_what_it_was_at_the_gateway(topic, payload, id_):
    event = Judged(id_, "message", "", NOW, payload, {"topic": topic})
    try:
        record = site_messages.record_of(event, GATEWAY)
    except Rejected:
        return

    here = site_messages.event_of(decode(encode(record)), "north")
    there = site_messages.event_of(decode(encode(record)), "south")

    assert here == event._replace(id=here.id, metadata={"topic": topic, "site": "north"})
    assert here.id == site_messages.event_of(record, "north").id != there.id
