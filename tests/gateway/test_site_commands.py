"""Commands that the gateways of a site hold together: what is lost, doubled or late leaves none behind. (D7, R4)"""

import json
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_contract import messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster import handing
from fieldloom_gateway.cluster.calling import NotLetIn
from fieldloom_gateway.cluster.told import MAX_BYTES, Ended, Told, Waiting, decode, encode, news
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.down import Command
from fieldloom_gateway.ingest.store import Arrival, Store
from fieldloom_runtime.records import Expired, Result

NOW = 1_790_000_000_000
EXPIRES = NOW + 60_000
LATE = EXPIRES + 120_000
DEVICE = "dev-1"
GATEWAYS = range(3)


class Heard:
    """A judge that notes what it hears of commands."""

    def __init__(self):
        self.words = []

    def hear(self, record):
        if isinstance(record, Result | Expired):
            self.words.append((record.id, type(record)))

    def write(self): ...

    def forget(self): ...

    def messages(self):
        return []


class Gateway:
    def __init__(self, folder):
        self.db = open_database(folder)
        self.store, self.judge = Store(self.db, 100_000_000), Heard()
        self.down = self.store.down
        self.store.attend(self.judge)

    def make(self, name, device=DEVICE, expires=EXPIRES):
        payload = messages.command(name, "read", {}, expires)
        self.store.commit(self.down.keep, [Command(name, device, payload, expires)])

    @staticmethod
    def named(payload):
        return json.loads(payload)["id"]

    def say(self, verb, payload):
        self.store.take([Arrival(DEVICE, verb, json.dumps(payload).encode(), topics.device(DEVICE, verb))], NOW)

    def tell(self, other):
        told, _ = self.down.told()
        return other.down.take_told(decode(encode(told)), NOW)

    def ids(self):
        return {row[0] for row in self.db.execute("SELECT id FROM command")}

    def sent_up(self, kind):
        return [record["id"] for record in self.records() if record["kind"] == kind]

    def records(self):
        bodies = self.db.execute("SELECT body FROM outbox").fetchall()
        return [json.loads(line) for (body,) in bodies for line in body.splitlines()]


class World:
    """Three gateways, and one device that executes an id once, whoever sends it."""

    def __init__(self, stack):
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in GATEWAYS]
        self.gateways = [Gateway(folder) for folder in folders]
        for one in self.gateways:
            stack.enter_context(closing(one.db))
        self.makers = {}
        self.place, self.session, self.seq = None, 0, 0
        self.executed, self.reports = [], 0

    def command(self, at):
        name = f"c{len(self.makers)}"
        self.makers[name] = at
        self.gateways[at].make(name)

    def move(self, to):
        """The new gateway may hear of it before the old one notices, as after a broken link."""
        if self.place is not None:
            before, session = self.gateways[self.place], f"s{self.session}"
        self.session += 1
        self.gateways[to].say("state", {"online": True, "boot": 7, "session": f"s{self.session}"})
        if self.place is not None:
            before.say("state", {"online": False, "boot": 7, "session": session})
        self.place = to

    def serve(self):
        if self.place is None:
            return
        for payload in self.gateways[self.place].down.commands(DEVICE):
            name = json.loads(payload)["id"]
            if name not in self.executed:
                self.executed.append(name)
            self.seq += 1
            self.reports += 1
            word = {"boot": 7, "seq": self.seq, "ts": NOW, "id": name, "status": "succeeded", "result": {}}
            self.gateways[self.place].say("command/result", word)

    def tell(self, pair):
        self.gateways[pair[0]].tell(self.gateways[pair[1]])

    def settle(self):
        pairs = [(one, other) for one in GATEWAYS for other in GATEWAYS if one != other]
        for _ in range(2):
            for pair in pairs:
                self.tell(pair)
            self.serve()
        for pair in pairs:
            self.tell(pair)


@pytest.fixture
def world():
    with ExitStack() as stack:
        yield World(stack)


places = st.sampled_from(GATEWAYS)
STEPS = st.one_of(
    st.tuples(st.just("command"), places),
    st.tuples(st.just("move"), places),
    st.tuples(st.just("tell"), st.permutations(GATEWAYS)),
    st.tuples(st.just("serve")),
)


@settings(max_examples=25)
@given(st.lists(STEPS, max_size=20), places)
def test_each_command_is_executed_ended_everywhere_and_known_to_its_maker(steps, last):
    with ExitStack() as stack:
        world = World(stack)
        for step, *arguments in steps:
            getattr(world, step)(*arguments)
        world.move(last)
        world.settle()
        reports = world.reports
        for place in GATEWAYS:
            world.move(place)
            world.serve()

        assert sorted(world.executed) == sorted(world.makers)
        assert [one.ids() for one in world.gateways] == [set()] * 3
        assert world.reports == reports, "who comes by again is told it again"
        for name, maker in world.makers.items():
            assert (name, Result) in world.gateways[maker].judge.words


def test_what_was_withdrawn_is_kept_by_nobody(world):
    first, second, third = world.gateways
    first.make("c0")
    first.tell(second)
    second.tell(third)

    first.store.commit(first.down.withdraw, "c0")
    late, _ = second.down.told()
    first.tell(second)
    first.tell(third)
    again = third.down.take_told(late, NOW)

    assert [one.ids() for one in world.gateways] == [set()] * 3
    assert again == []


def test_one_gateway_tells_of_an_expiry_and_all_know_of_it_and_forget(world):
    first, second, _ = world.gateways
    first.make("c0")
    first.tell(second)

    first.down.expire(EXPIRES, lambda _: False)
    second.down.expire(EXPIRES, lambda _: True)

    assert (first.sent_up("expired"), second.sent_up("expired")) == (["c0"], [])
    assert first.judge.words == second.judge.words == [("c0", Expired)]
    assert first.ids() == second.ids() == set()


def test_ends_are_forgotten_when_every_copy_has_expired(world):
    first = world.gateways[0]
    world.command(0)
    first.down.told()
    world.move(0)
    world.serve()
    kept = first.down.told()[0].ended

    first.down.expire(EXPIRES)
    early = first.down.told()[0].ended
    first.down.expire(LATE)

    assert [end.id for end in kept] == ["c0"]
    assert early == kept
    assert first.down.told()[0].ended == []


def test_a_word_that_is_heard_after_there_was_none_is_known(world):
    """A gateway that has looked and knows of no end yet hears of one from another. (D7, E3)"""
    first, second, _ = world.gateways
    word = b'{"kind":"result","device":"dev-1","ts":1,"at":1,"id":"c0","status":"succeeded"}'
    for gateway in (first, second):
        gateway.down.expire(NOW)
    before = first.down.word("c0", DEVICE)
    first.down.take_told(Told([], [Ended("c0", DEVICE, EXPIRES, word)]), NOW)

    assert before is second.down.word("c0", DEVICE) is None
    assert first.down.word("c0", DEVICE).status == "succeeded"
    first.make("c0")
    assert first.ids() == set()


def test_what_waits_for_a_device_is_the_same_after_a_start_and_what_was_rolled_back(world):
    """Which commands wait stands in memory: it says what the disk says. (A3)"""
    first = world.gateways[0]
    for name, device in (("c0", "dev-1"), ("c1", "dev-2"), ("c2", "dev-1")):
        first.make(name, device)

    def take_back():
        first.down.withdraw("c0")
        first.down.keep([Command("c3", "dev-1", messages.command("c3", "read", {}, EXPIRES), EXPIRES)])
        raise Rejected("test", "is over")

    with pytest.raises(Rejected):
        first.store.commit(take_back)
    waiting = [[first.named(payload) for payload in first.down.commands(device)] for device in ("dev-1", "dev-2")]
    started = Store(first.db, 100_000_000).down
    assert waiting == [["c0", "c2"], ["c1"]]
    assert [[first.named(one) for one in started.commands(device)] for device in ("dev-1", "dev-2")] == waiting

    first.make("c0")
    first.store.commit(first.down.withdraw, "c0")
    first.down.expire(EXPIRES)
    assert first.down.commands("dev-1") == first.down.commands("dev-2") == []


def test_each_device_s_commands_expire_in_their_time_and_no_others(world):
    first = world.gateways[0]
    for number, device in enumerate(("dev-1", "dev-3", "dev-1", "dev-2")):
        first.make(f"c{number}", device)
    first.make("later", "dev-2", EXPIRES + 1)

    assert first.down.expire(EXPIRES - 1) == 0
    assert first.down.expire(EXPIRES) == 4
    assert first.ids() == {"later"}
    assert sorted(first.sent_up("expired")) == ["c0", "c1", "c2", "c3"]


def test_of_what_a_gateway_commands_its_own_devices_nobody_is_told(world):
    first = world.gateways[0]
    world.move(0)
    world.command(0)
    while_it_waits = first.down.told()[0]
    world.serve()

    assert while_it_waits == first.down.told()[0] == Told([], [])
    assert first.sent_up("result") == ["c0"]


def test_who_has_left_unheard_counts_as_away_once_it_was_asked_who_is_there(world):
    """A broker that is killed says of nobody that he has gone. (D7)"""
    first, second, _ = world.gateways
    world.move(0)
    first.store.begin_finding()
    second.say("state", {"online": True, "boot": 7, "session": "elsewhere"})
    world.command(0)
    first.tell(second)

    assert second.ids() == {"c0"}


def test_who_makes_a_command_again_that_others_know_tells_them_of_its_end(world):
    """As another gateway does that goes on with a dead one's workflow."""
    first, second, _ = world.gateways
    world.command(0)
    first.tell(second)
    second.make("c0")
    world.move(1)
    world.serve()
    second.tell(first)

    assert first.ids() == second.ids() == set()
    assert ("c0", Result) in first.judge.words


def test_a_device_can_not_end_the_command_of_another(world):
    first, second, _ = world.gateways
    first.make("c0", "dev-2")
    first.tell(second)

    first.say("command/result", {"boot": 7, "seq": 1, "ts": NOW, "id": "c0", "status": "succeeded", "result": {}})
    first.tell(second)

    assert first.ids() == second.ids() == {"c0"}


def test_a_word_is_of_the_command_that_it_ends(world):
    first = world.gateways[0]
    word = b'{"kind":"result","device":"dev-2","ts":1,"at":1,"id":"c0","status":"succeeded"}'

    with pytest.raises(Rejected, match="c0 is not the command of its word"):
        first.down.take_told(Told([], [Ended("c0", DEVICE, EXPIRES, word)]), NOW)
    with pytest.raises(Rejected, match="c0: "):
        first.down.take_told(Told([], [Ended("c0", DEVICE, EXPIRES, b"{}")]), NOW)


def test_who_has_asked_goes_with_a_command_to_the_gateway_that_has_the_device(world):
    """(D7, E9)"""
    first, second, _ = world.gateways
    payload = messages.command("c0", "write", {"name": "relay", "value": True}, EXPIRES)
    source = b'{"priority":"rule","owner":"too-hot"}'
    first.store.commit(first.down.keep, [Command("c0", DEVICE, payload, EXPIRES, source)])

    first.tell(second)
    second.say("command/result", {"boot": 7, "seq": 1, "ts": NOW, "id": "c0", "status": "succeeded"})

    (result,) = (one for one in second.records() if one["kind"] == "result")
    assert result["moved"]["by"] == {"priority": "rule", "owner": "too-hot"}


class OlderWaiting(NamedTuple):
    """What a release before this one knew of a command that waits."""

    id: str
    device: str
    payload: bytes
    expires: int


class OlderTold(NamedTuple):
    waiting: list[OlderWaiting]
    ended: list[Ended]


def test_a_gateway_of_an_older_release_is_told_without_who_has_asked(monkeypatch):
    """(D6)"""
    taken = []

    def post(_name, _address, _path, body, _tls):
        try:
            taken.append(msgspec.msgpack.decode(body, type=OlderTold))
        except msgspec.ValidationError as error:
            raise NotLetIn(str(error)) from None

    monkeypatch.setattr(handing, "post", post)
    ended = Ended("c1", DEVICE, EXPIRES, None)
    handing._post("gw-2", "", Told([Waiting("c0", DEVICE, b"{}", EXPIRES, b'{"owner":"too-hot"}')], [ended]), None)

    assert taken == [OlderTold([OlderWaiting("c0", DEVICE, b"{}", EXPIRES)], [ended])]


def test_what_is_told_at_once_is_bounded_and_all_of_it_is_told_in_the_end():
    longest = bytes(65_536)
    held = Told(
        [Waiting(f"w{number}", DEVICE, longest[:4096], EXPIRES) for number in range(200)],
        [Ended(f"e{number}", DEVICE, EXPIRES, longest) for number in range(20)],
    )
    waiting, ended = set(), set()

    while any(told := news(held, waiting, ended)):
        assert len(encode(told)) <= MAX_BYTES
        waiting |= {one.id for one in told.waiting}
        ended |= {one.id for one in told.ended}

    assert (len(waiting), len(ended)) == (200, 20)


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        (Waiting("c1", DEVICE, b"{}", EXPIRES), "id: "),
        (Waiting("c1", "../x", messages.command("c1", "read", {}, EXPIRES), EXPIRES), "device: "),
        (Waiting("c2", DEVICE, messages.command("c1", "read", {}, EXPIRES), EXPIRES), "c2 is not the command"),
        (Waiting("c1", DEVICE, messages.command("c1", "read", {}, EXPIRES), EXPIRES, b"{}"), "source: "),
    ],
)
def test_what_is_no_command_is_refused_whole(world, waiting, reason):
    first = world.gateways[0]
    good = Waiting("c0", DEVICE, messages.command("c0", "read", {}, EXPIRES), EXPIRES)

    with pytest.raises(Rejected, match=reason):
        first.down.take_told(Told([good, waiting], [Ended("c9", DEVICE, EXPIRES, None)]), NOW)

    assert first.ids() == set()
