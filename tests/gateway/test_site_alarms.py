"""Alarms of a site: what is lost, doubled or late between its gateways leaves one list. (E7, E8, D7)"""

import asyncio
import itertools
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_engine.alarms import Mark
from fieldloom_gateway.automation.alarms import telling
from fieldloom_gateway.automation.alarms.service import WORDS, Alarms, active
from fieldloom_gateway.automation.alarms.telling import Ports, Telling
from fieldloom_gateway.automation.alarms.words import MESSAGE, Marked, encode
from fieldloom_gateway.cluster.calling import NotLetIn, OutOfReach
from fieldloom_gateway.cluster.door import MAX_PARCEL_BYTES
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.letters import Asked
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime.records import decode

NOW = 1_790_000_000_000
numbers = itertools.count()
NAMES = ("gw.a", "gw.b", "gw.c")
SEVERITIES = {True: "major", False: "info"}


@pytest.fixture(autouse=True, scope="module")
def _without_pauses():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telling, "AGAIN_S", 0)
        yield


def marked(effect, at=NOW, *, begins=True, alarm="wet"):
    return Marked("dev-1", alarm, effect, at, begins, "leak", SEVERITIES[begins], "")


class Gateway:
    """One with its database; `ask` is the way to the others, and `members` who can be asked."""

    def __init__(self, folder, ask, members):
        self._folder, self._ask, self.members = folder, ask, members
        self.looks = 0
        self.start()

    def start(self):
        self.db = open_database(self._folder)
        self.store = Store(self.db, 100_000_000)
        self.alarms = Alarms(self.db, self.store.send_up)
        ports = Ports(self._look, self._ask, called, self.commit, self.store.bury, lambda: NOW)
        self.telling = Telling(self.alarms, ports)

    def restart(self):
        self.db.close()
        self.start()

    def _look(self):
        self.looks += 1
        return self.members

    async def commit(self, call, *arguments):
        return self.store.commit(call, *arguments)

    def mark(self, word):
        self.store.commit(self.alarms.mark, word, NOW)

    def withdraw(self, word, by):
        self.store.commit(self.alarms.withdraw, word.device, word.alarm, word.effect, by, NOW)

    @property
    def letters(self):
        return self.store.letters.page(Asked(), None, 10)

    def told_the_cloud(self):
        bodies = self.db.execute("SELECT body FROM outbox").fetchall()
        records = [decode(line) for (body,) in bodies for line in body.splitlines()]
        return [record.data["effect"] for record in records]


async def called(call, *arguments):
    return call(*arguments)


class World:
    """Three gateways, and a net between them that is told what becomes of each parcel."""

    def __init__(self, disk):
        self.gateways, self.late, self.fate = {}, [], "come"
        self.asked = 0
        self.words, self.withdrawn, self.judged = {}, set(), {name: [] for name in NAMES}
        for name in NAMES:
            folder = disk / str(next(numbers))
            folder.mkdir()
            others = [other for other in NAMES if other != name]
            self.gateways[name] = Gateway(folder, self.ask, others)

    def close(self):
        for one in self.gateways.values():
            one.db.close()

    async def ask(self, member, _path, body):
        self.asked += 1
        if self.fate == "late":
            self.late.append((member, body))
        if self.fate in ("lost", "late"):
            raise OutOfReach(member)
        if self.fate == "refused":  # as by a member of an older release, which has no such path
            raise NotLetIn(member)
        answer = await self.gateways[member].telling.take("gw.any", body)
        if self.fate == "unanswered":
            raise OutOfReach(member)
        return answer

    def mark(self, name, alarm, at, begins):
        word = marked(f"e{len(self.words)}", NOW + at, begins=begins, alarm=alarm)
        self.words[word.effect] = word
        self.judged[name].append(word.effect)
        self.gateways[name].mark(word)

    def again(self, name, which):
        """A gateway judges what another has judged before, as a new owner does."""
        if self.words:
            word = self.words[f"e{which % len(self.words)}"]
            self.judged[name].append(word.effect)
            self.gateways[name].mark(word)

    def withdraw(self, name, which):
        if self.words:
            word, by = self.words[f"e{which % len(self.words)}"], f"w{len(self.judged[name])}.{name}"
            self.withdrawn.add(word.effect)
            self.judged[name].append(by)
            self.gateways[name].withdraw(word, by)

    def restart(self, name):
        self.gateways[name].restart()

    async def tell(self, pair, fate):
        self.fate = fate
        await self.gateways[pair[0]].telling.tell(pair[1])

    async def settle(self):
        """Have what is late come, and each tell all that it knows, and what it has heard of that."""
        for member, body in self.late:
            await self.gateways[member].telling.take("gw.any", body)
        for _ in range(2):
            await self.tell_all()

    async def tell_all(self):
        self.fate = "come"
        for one in self.gateways.values():
            for member in one.members:
                while await one.telling.tell(member):
                    pass

    def lists(self):
        return [[(one["alarm"], *list(one.values())[2:]) for one in self.gateways[name].alarms.all()] for name in NAMES]

    def expected(self):
        """Return what is active of all that was said anywhere and not withdrawn."""
        kept = [word for word in self.words.values() if word.effect not in self.withdrawn]
        found = []
        for alarm in sorted({word.alarm for word in kept}):
            of_alarm = [word for word in kept if word.alarm == alarm]
            marks = [Mark(one.at, one.effect, one.begins, one.rule, one.severity, one.message) for one in of_alarm]
            if (now_active := active(marks)) is not None:
                found.append((alarm, *now_active))
        return found


names = st.sampled_from(NAMES)
few = st.integers(0, 9)
fates = st.sampled_from(("come", "lost", "late", "unanswered", "refused"))
STEPS = st.one_of(
    st.tuples(st.just("mark"), names, st.just("wet"), few, st.booleans()),
    st.tuples(st.just("mark"), names, st.sampled_from(("wet", "hot")), few, st.booleans()),
    st.tuples(st.just("again"), names, few),
    st.tuples(st.just("withdraw"), names, few),
    st.tuples(st.just("restart"), names),
    st.tuples(st.just("tell"), st.permutations(NAMES), fates),
)


@settings(max_examples=40)
@given(st.lists(STEPS, min_size=8, max_size=25))
def test_all_gateways_list_the_alarms_that_all_of_them_together_know(disk, steps):
    """E7, E8: over lost, late and doubled parcels, restarts and withdrawals; the cloud hears from who judged alone."""

    async def run(world):
        for step, *arguments in steps:
            done = getattr(world, step)(*arguments)
            if done is not None:
                await done
        await world.settle()
        asked = world.asked
        await world.tell_all()
        assert world.asked == asked, "what all know is told again"

    with closing(World(disk)) as world:
        asyncio.run(run(world))

        assert world.lists() == [world.expected()] * 3
        assert {name: one.told_the_cloud() for name, one in world.gateways.items()} == world.judged


@pytest.fixture
def world(disk):
    with closing(World(disk)) as world:
        yield world


@pytest.mark.parametrize("fate", ["lost", "late", "unanswered", "refused"])
async def test_what_did_not_come_is_told_again(world, fate):
    first, second, _ = world.gateways.values()
    first.mark(marked("e0"))
    await world.tell(("gw.a", "gw.b"), fate)
    before = world.asked

    await world.tell(("gw.a", "gw.b"), "come")

    assert world.asked == before + 1
    assert [one["count"] for one in second.alarms.all()] == [1]


async def test_a_gateway_that_joins_is_told_what_another_knows_of_one_that_has_gone(world):
    first, second, third = world.gateways.values()
    first.mark(marked("e0"))
    await first.telling.tell("gw.b")

    await second.telling.tell("gw.c")

    assert [one["alarm"] for one in third.alarms.all()] == ["wet"]


async def test_who_was_away_is_told_all_again(world):
    """Its disk may be another one, or have been restored from a copy."""
    first, second, _ = world.gateways.values()
    first.mark(marked("e0"))
    running = asyncio.create_task(first.telling.run())
    await soon(second.alarms.all)

    first.members = []
    looks = first.looks
    await soon(lambda: first.looks > looks + 1)
    for table in ("alarm", "alarm_mark", "alarm_known"):
        second.db.execute(f"DELETE FROM {table}")
    first.members = ["gw.b"]
    await soon(second.alarms.all)

    running.cancel()


async def soon(is_so):
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - another task has it be so
            await asyncio.sleep(0.02)


async def test_what_can_not_be_used_is_a_dead_letter_and_the_rest_is_kept(world):
    """V2: a parcel is not refused for one word, nor told again for ever."""
    first = world.gateways["gw.a"]
    bad = [
        Marked("../x", "wet", "e1", NOW, True, "leak"),
        Marked("dev-1", "", "e2", NOW, True, "leak"),
        Marked("dev-1", "wet", "e3", NOW, True, "leak", "major\n"),
        Marked("dev-1", "wet", "e4", -1, True, "leak"),
    ]

    await first.telling.take("gw.b", encode([*bad, marked("e0")]))

    assert [one["count"] for one in first.alarms.all()] == [1]
    reasons = [(letter.topic, letter.reason) for letter in first.letters]
    for field in ("device: ", "`$.alarm`", "`$.severity`", "`$.at`"):
        assert [topic for topic, reason in reasons if field in reason] == [telling.PATH]
    assert len(reasons) == len(bad)


def test_marks_of_a_gateway_that_told_nobody_are_told(tmp_path):
    """V2: an older version has written them."""
    with closing(open_database(tmp_path)) as db:
        db.execute("INSERT INTO alarm_mark VALUES ('dev-1', 'wet', ?, 'e0', 1, 'leak', 'major', '')", (NOW,))

    with closing(open_database(tmp_path)) as db:
        words, through = Alarms(db, print).news(0)
        nothing, _ = Alarms(db, print).news(through)

    assert words == [marked("e0")]
    assert nothing == []


async def test_a_parcel_is_of_bounded_length_and_all_is_told_in_the_end(world):
    first, second, _ = world.gateways.values()
    longest = "\U0001f525" * MESSAGE
    for number in range(2 * WORDS + 1):
        word = Marked("dev-1", f"alarm-{number:03d}", f"e{number}", NOW, True, "r" * 64, "critical", longest)
        first.mark(word)
    length = len(encode(first.alarms.news(0)[0]))

    while await first.telling.tell("gw.b"):
        pass

    assert length <= MAX_PARCEL_BYTES
    assert len(second.alarms.all()) == 2 * WORDS + 1


def test_few_withdrawals_of_an_alarm_are_kept(world):
    first = world.gateways["gw.a"]
    for number in range(100):
        first.mark(marked(f"e{number}"))
        first.withdraw(marked(f"e{number}"), f"w{number}")

    assert first.db.execute("SELECT count(*) FROM alarm_known").fetchone()[0] < 70
    assert first.alarms.all() == []
