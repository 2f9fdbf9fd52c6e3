"""Rules that remember at the owner of a device's partition: whoever dies, moves or is cut off. (D4, D7, E8, W8)

Three gateways with a database each, over one map, hand things over by the real parts; connections are calls.
"""

import asyncio
import itertools
import json
import sqlite3
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldloom_engine.rules import Event
from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.automation.windows import handing as handings
from fieldloom_gateway.automation.windows import rows as all_rows
from fieldloom_gateway.automation.windows import runtime as runtimes
from fieldloom_gateway.automation.windows.checkpoints import Checkpoints
from fieldloom_gateway.automation.windows.handing import Handing
from fieldloom_gateway.automation.windows.parcel import Heard, Moved, Parcel, encode
from fieldloom_gateway.automation.windows.records import Kept, key_of, packed, parts_of, taken_of
from fieldloom_gateway.automation.windows.rows import ROW_BYTES, Rows
from fieldloom_gateway.automation.windows.runtime import Runtime
from fieldloom_gateway.cluster.calling import OutOfReach
from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.door import MAX_PARCEL_BYTES
from fieldloom_gateway.cluster.partitions.partition import partition_of
from fieldloom_gateway.cluster.partitions.records import owner_key
from fieldloom_gateway.cluster.partitions.residence import LoadFailed
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.parts import part
from fieldloom_gateway.cluster.state.store import Store as SharedStore
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime.down import Rules
from gateway.test_rules import NOW, Gateway

DEVICE = "dev-1"
HOME = partition_of(DEVICE)
NAMES = ("gw.a", "gw.b", "gw.c")
STOP = [{"command": {"type": "stop", "parameters": {"by": "{{ event.id }}"}}}]
RULES = (
    {"id": "in-turn", "when": {"sequence": {"steps": ["hot", "cold"], "within": "60s"}}, "do": STOP},
    {"id": "often", "when": {"count_in_window": {"where": "hot", "at_least": 3, "within": "60s"}}, "do": STOP},
)
SILENT = {
    "id": "silent",
    "when": {"absent_for": {"event": "cold", "after": "hot", "for": "10s"}},
    "do": STOP,
    "lateness": "1s",
    "late": "fire",
}
numbers = itertools.count()


class Member(Gateway):
    """A gateway of the site. It acts for what it owns, and, where it `is_paused`, for what it owned before."""

    def __init__(self, site, name, *documents):
        self.site, self.name, self.is_paused = site, name, False
        super().__init__(site.folder, *documents)

    def start(self):
        self.db = open_database(self.folder)
        self.store = Store(self.db, 10**7)
        self.rules = Automation(self.db, self.store, self.name, shares=True)
        self.rules.start(self.now)
        self.store.attend(self.rules)
        checkpoints = Checkpoints(self.site.shared)
        self.done = Counter()
        """What was done by partition."""
        does = runtimes.Ports(self.in_store, self.judge, self.elapse, self.did, lambda: self.now, self.steady)
        self.runtime = Runtime(self.rules.windows.homes, checkpoints, self.acts, does)
        ways = handings.Ports(lambda: NAMES, self.ask, self.in_store, self.commit, self.steady)
        windows = self.rules.windows
        self.handing = Handing(self.name, self.site.owner, windows, checkpoints, self.runtime.hear, ways)
        return self

    def did(self, partition, units):
        self.done[partition] += units

    def acts(self, partition):
        return self.is_paused or (self.site.has_majority and self.site.owner(partition) == self.name)

    def steady(self):
        return self.now / 1000

    async def in_store(self, call, *arguments):
        return call(*arguments)

    async def commit(self, call, *arguments):
        return self.store.commit(call, *arguments)

    async def judge(self, stream, lots):
        return self.store.commit(self.rules.windows.judge, stream, lots, self.now)

    async def elapse(self, partitions):
        self.store.commit(self.rules.windows.elapse, partitions, self.now)

    async def ask(self, member, _path, body):
        if self.site.cut & {member, self.name}:
            raise OutOfReach("the cable is out")
        return await self.site.members[member].handing.take(self.name, body)

    async def hand_over(self):
        for member in NAMES:
            while await self.handing.hand_over(member):
                pass

    @property
    def waiting(self):
        return self.rules.windows.status()["waiting"]

    @property
    def kept(self):
        return self.rules.windows.status()["kept"]


class Cluster:
    """Three gateways, and a device that tells any of them what happens to it."""

    def __init__(self, folder, *documents):
        self.folder, self.cut, self.versions = folder / f"site-{next(numbers)}", set(), {}
        self.has_majority = True
        self.folder.mkdir()
        self.documents = documents
        self.seq = 0
        machine = ReplicatedMap()
        self.consensus = LocalConsensus("site", self.folder, machine)
        self.shared = SharedStore(self.consensus, machine)

    async def __aenter__(self):
        await self.consensus.start()
        self.members = {name: Member(self, name, *self.documents) for name in NAMES}
        await self.move("gw.b")
        return self

    async def __aexit__(self, *_):
        for one in self.members.values():
            one.db.close()
        await self.consensus.stop()

    def owner(self, partition=HOME):
        found = self.shared.peek(owner_key(partition))
        return None if found is None else found.value.decode()

    async def assign(self, name):
        self.versions[HOME] = await self.shared.set(owner_key(HOME), name.encode())

    async def load(self):
        await self.members[self.owner()].runtime.load(HOME, self.versions[HOME])

    async def move(self, name):
        """Hand the partition over in order."""
        former = self.members.get(self.owner())
        if former is not None:
            await former.runtime.drain(HOME, self.versions[HOME])
        await self.assign(name)
        if former is not None:
            former.runtime.unload(HOME)
        await self.load()

    async def take_over(self, name):
        """Have a gateway own the partition while the one before has not noticed it."""
        former = self.members[self.owner()]
        if former.name != name:
            former.is_paused = True
            await self.assign(name)
            await self.load()

    async def kill(self, name):
        """Let a gateway die, and start again; another has taken over what it owned."""
        self.members[name].kill()
        self.members[name].is_paused = False
        if self.owner() == name:
            await self.assign(next(one for one in NAMES if one != name))
            await self.load()

    async def wake(self):
        """Have those notice who were paused."""
        for one in self.members.values():
            if one.is_paused:
                one.is_paused = False
                if self.owner() != one.name:
                    one.runtime.unload(HOME)

    async def settle(self, seconds=1):
        """Let time pass, and hand over what can be."""
        for one in self.members.values():
            one.now += seconds * 1000
        for _ in range(2):
            for one in self.members.values():
                await one.hand_over()
                await one.runtime.elapse()

    async def mend(self):
        self.cut.clear()
        await self.wake()
        await self.settle()
        for one in self.members.values():
            await one.runtime.keep()
        for one in self.members.values():
            await one.handing.forget()

    def happen(self, name, kind):
        """Have the device tell a gateway of an event, having forgotten all before it."""
        self.seq += 1
        record = {"seq": self.seq, "first": self.seq, "ts": NOW + self.seq * 1000, "type": kind, "data": {}}
        self.members[name].take(record, device=DEVICE, verb="event")

    @property
    def commands(self):
        """The ids of what the rules have asked for, with the rule, at whatever gateway."""
        return {(one[0], one[1]) for member in self.members.values() for one in member.effects}

    @property
    def fired(self):
        """The rules and events of which the cloud is told."""
        told = [one.data for member in self.members.values() for one in member.events("rule.fired")]
        return {(one["rule"], one["event"]["id"]) for one in told}

    def taken(self):
        """What the checkpoint of the device takes into account."""
        entry = self.shared.peek(part(key_of(HOME, DEVICE), 0))
        return None if entry is None else taken_of(entry)


@pytest.fixture(scope="module", autouse=True)
def _without_pauses():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtimes, "PAUSE_S", 0)
        patch.setattr(handings, "PAUSE_S", 0)
        yield


def alone(disk, kinds, documents=RULES):
    """Return what one gateway that sees all events in their order asks for, and what it tells of firings."""
    gateway = Gateway(disk, *documents)
    for seq, kind in enumerate(kinds, 1):
        gateway.take({"seq": seq, "ts": NOW + seq * 1000, "type": kind, "data": {}}, device=DEVICE, verb="event")
    found = {(one[0], one[1]) for one in gateway.effects}
    fired = {(one.data["rule"], one.data["event"]["id"]) for one in gateway.events("rule.fired")}
    gateway.db.close()
    return found, fired


async def act(site, action, name):
    """Have something happen to the site, at or to a gateway."""
    member = site.members[name]
    if action in ("hot", "cold"):
        site.happen(name, action)
    elif action in ("move", "take_over"):
        await site.wake()
        await (site.move if action == "move" else site.take_over)(name)
    elif action == "cut":
        site.cut.add(name)
    elif action == "kill":
        await site.kill(name)
    else:
        does = {"keep": member.runtime.keep, "forget": member.handing.forget}
        await {**does, "mend": site.mend, "wake": site.wake, "settle": site.settle}[action]()


ACTIONS = [
    "hot",
    "hot",
    "cold",
    "settle",
    "settle",
    "keep",
    "forget",
    "kill",
    "take_over",
    "wake",
    "move",
    "cut",
    "mend",
]
PLANS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(NAMES)), min_size=12, max_size=40)


@given(plan=PLANS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whoever_dies_moves_or_is_cut_off_what_fires_is_what_one_gateway_would_have_fired(disk, plan):
    """D4, E8, W8."""

    async def go():
        async with Cluster(disk, *RULES) as site:
            for action, name in plan:
                await act(site, action, name)
            await site.mend()
            await site.mend()
            return site.commands, site.fired, [one.kept for one in site.members.values()]

    commands, fired, kept = asyncio.run(go())

    assert (commands, fired) == alone(disk, [action for action, _ in plan if action in ("hot", "cold")])
    assert kept == [0, 0, 0]


async def test_who_was_paused_writes_no_checkpoint_over_that_of_its_successor(disk):
    """D4: the fence."""
    async with Cluster(disk, *RULES) as site:
        former, successor = site.members["gw.b"], site.members["gw.c"]
        site.happen("gw.a", "hot")
        await site.settle()
        await site.take_over("gw.c")
        site.happen("gw.a", "hot")
        await site.settle()
        await successor.runtime.keep()
        kept = site.taken()

        await former.runtime.keep()

        assert list(kept.values()) == [2]
        assert site.taken() == kept
        assert former.rules.windows.status()["unkept"] == 1, "what it judged was not written"


async def test_without_an_owner_all_else_goes_on_and_what_waits_is_told(disk):
    """D7."""
    here = {"id": "at-once", "when": {"event_type": "hot"}, "do": STOP}
    async with Cluster(disk, here, *RULES) as site:
        receiver = site.members["gw.a"]
        site.cut.update(NAMES)
        for _ in range(3):
            site.happen("gw.a", "hot")
            await site.settle()
        waited = receiver.waiting, [one[1] for one in receiver.effects]

        await site.mend()

        assert waited == (3, ["at-once"] * 3)
        assert (receiver.waiting, receiver.kept) == (0, 0)
        assert {rule for _, rule in site.commands} == {"at-once", "often"}


def test_what_finds_no_room_is_given_up_oldest_first_and_told(tmp_path):
    """D7, T1."""
    db, letters = open_database(tmp_path), []
    rows = Rows(db, lambda *letter: letters.append(letter), most=10)

    for n in range(12):
        rows.put(DEVICE, Heard(NOW + n, None, Event(f"{n}", "hot", DEVICE, NOW + n, {})), NOW + n)
        rows.write()
    left = db.execute("SELECT min(number), max(number) FROM rule_heard").fetchone()
    db.close()

    assert (left, rows.kept, rows.dropped) == ((3, 12), 10, 2)
    assert [(topic, json.loads(payload), at) for topic, payload, _, at in letters] == [
        ("rules/windows", {"records": 1, "devices": [DEVICE]}, NOW + n) for n in (10, 11)
    ]


def test_what_is_longer_than_an_owner_takes_is_given_up_and_told_and_all_else_fits_its_door(tmp_path):
    """D4, T1: as of a gateway that was alone and remembers long events."""
    db, letters = open_database(tmp_path), []
    rows = Rows(db, lambda *letter: letters.append(letter))
    lengths = [ROW_BYTES // 2] * 2 + [ROW_BYTES - 100] * 2 + [ROW_BYTES]

    for n, length in enumerate(lengths):
        rows.put(f"dev-{n}", Moved(f"dev-{n}", {"events": "x" * length}), NOW)
    rows.write()
    lots = rows.lots([*rows.standing], {}, asks=True)
    db.close()

    assert len(encode(Parcel("s" * 16, lots))) <= MAX_PARCEL_BYTES
    assert (rows.kept, rows.dropped) == (4, 1)
    assert [(json.loads(payload), at) for _, payload, _, at in letters] == [({"records": 1, "devices": ["dev-4"]}, NOW)]


async def test_a_disk_that_refuses_for_long_makes_nothing_grow(disk, monkeypatch):
    """D4: what checkpoints cover is kept once of a source, however often it has changed."""
    async with Cluster(disk, *RULES) as site:
        receiver, asked = site.members["gw.a"], []

        def refuse(covered):
            asked.append([number for _, number in covered])
            raise sqlite3.OperationalError("disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(receiver.rules.windows.rows, "cover", refuse)
            for _ in range(3):
                site.happen("gw.a", "hot")
                await site.mend()
        await site.mend()

        assert asked == [[1], [2], [3]]
        assert receiver.kept == 0


async def test_what_the_owners_disk_refuses_is_judged_again(disk):
    """E8: windows are as if the refused transaction had never been, and nothing fires twice."""
    async with Cluster(disk, *RULES) as site:
        owner = site.members["gw.b"]
        for _ in range(3):
            site.happen("gw.a", "hot")
        await site.settle()
        owner.db.execute("CREATE TRIGGER full BEFORE INSERT ON effect BEGIN SELECT raise(ABORT, 'disk is full'); END")
        site.happen("gw.a", "hot")
        await site.settle()
        refused = len(site.commands), site.members["gw.a"].waiting

        owner.db.execute("DROP TRIGGER full")
        await site.mend()

        assert refused == (1, 4)
        assert (site.commands, site.fired) == alone(disk, ["hot"] * 4)
        assert [one.data["event"]["id"] for one in owner.events("rule.fired")] == ["dev-1/7/3", "dev-1/7/4"]


async def test_nothing_is_absent_that_a_receiver_still_keeps_for_who_took_over(disk):
    """E8: time passes at the owner alone, and not before receivers could hand over what no checkpoint covers."""
    async with Cluster(disk, SILENT) as site:
        site.happen("gw.a", "hot")
        await site.settle()
        await site.members["gw.b"].runtime.keep()
        site.happen("gw.a", "cold")
        await site.settle()
        for one in site.members.values():
            one.now += 60_000
        await site.kill("gw.b")
        await site.members["gw.a"].runtime.elapse()
        too_early = site.commands
        await site.settle(5)

        site.happen("gw.c", "hot")
        await site.settle(60)

        assert (too_early, site.owner()) == (set(), "gw.a")
        assert [(name, len(one.effects)) for name, one in site.members.items()] == [
            ("gw.a", 1),
            ("gw.b", 0),
            ("gw.c", 0),
        ]


async def test_what_was_only_asked_about_is_not_loaded_anew_after_a_roll_back(disk):
    """D4: else a full disk would have an owner load all of which receivers keep something, with each refusal."""
    async with Cluster(disk, *RULES) as site:
        owner = site.members["gw.b"]
        site.happen("gw.a", "hot")
        await site.settle()
        await site.settle()

        with pytest.raises(ZeroDivisionError):
            owner.store.commit(lambda: 1 / 0)

        assert site.members["gw.a"].kept == 1
        assert owner.rules.windows.homes.lost == set()


async def test_nothing_is_absent_that_was_judged_before_a_transaction_that_was_rolled_back(disk):
    """E8: the owner goes on from its checkpoint then, and lets no time pass before it was told the rest again."""
    async with Cluster(disk, SILENT) as site:
        owner = site.members["gw.b"]
        site.happen("gw.a", "hot")
        await site.settle()
        await owner.runtime.keep()
        site.happen("gw.a", "cold")
        await site.settle(60)

        with pytest.raises(ZeroDivisionError):
            owner.store.commit(lambda: 1 / 0)
        await owner.runtime.elapse()
        await site.settle(5)

        assert site.commands == set()


@pytest.mark.parametrize("is_asked", [False, True])
async def test_nothing_is_absent_that_has_waited_for_a_majority(disk, is_asked):
    """D7, E8: the owner that has its lease again lets no time pass before it was told what waited.

    It notices by a look, or by being asked between two looks, that it had none.
    """
    async with Cluster(disk, SILENT) as site:
        receiver, owner = site.members["gw.a"], site.members["gw.b"]
        site.happen("gw.a", "hot")
        await site.settle(5)
        site.has_majority = False
        site.happen("gw.a", "cold")
        await (receiver.hand_over() if is_asked else owner.runtime.elapse())
        owner.now += 60_000

        site.has_majority = True
        await owner.runtime.elapse()
        await site.settle(5)

        assert site.commands == set()


async def test_nothing_is_absent_that_waits_behind_what_is_handed_over(disk, monkeypatch):
    """D7, E8: as what a night without a majority has left, of which a parcel holds little."""
    monkeypatch.setattr(all_rows, "PARCEL_ROWS", 2)
    async with Cluster(disk, SILENT) as site:
        receiver, owner = site.members["gw.a"], site.members["gw.b"]
        for kind in ("hot", "hot", "cold"):
            site.happen("gw.a", kind)
        owner.now += 60_000
        await owner.runtime.elapse()

        owner.now += 10_000
        await receiver.handing.hand_over("gw.b")
        await owner.runtime.elapse()
        await site.settle(5)

        assert site.commands == set()


async def test_a_gateway_that_was_alone_brings_what_it_remembers(disk):
    """D3, D4: and takes it along when it is alone again, as far as no owner has heard it."""
    before = Gateway(disk, *RULES)
    before.take({"seq": 1, "ts": NOW + 1000, "type": "hot", "data": {}}, device=DEVICE, verb="event")
    before.take({"seq": 2, "ts": NOW + 2000, "type": "hot", "data": {}}, device=DEVICE, verb="event")
    before.db.close()
    async with Cluster(disk, *RULES) as site:
        member = site.members["gw.a"]
        member.db.close()
        member.folder = before.folder
        member.start()
        site.seq = 2
        await site.settle()
        site.happen("gw.c", "hot")
        await site.settle()
        member.kill()
        shared = site.commands

        site.cut.update(NAMES)
        site.happen("gw.a", "cold")
        site.happen("gw.a", "hot")
        site.happen("gw.a", "cold")
        member.db.execute("INSERT INTO rule_heard VALUES (99, ?, ?, ?)", (HOME, DEVICE, b"[3,1]"))
        member.db.close()
        again = Gateway(disk, folder=member.folder)
        in_turn = [one[1] for one in again.effects]
        letters = [topic for (topic,) in again.db.execute("SELECT topic FROM dead_letter")]
        again.db.close()
        member.db = open_database(member.folder)

    assert [rule for _, rule in shared] == ["often"]
    assert in_turn == ["in-turn"]
    assert letters == ["rules/windows"], "what can't be read"


@pytest.mark.parametrize("body", ["[3,1]", f'[2,"{DEVICE}",{{"tracks":[]}}]'])
async def test_what_an_owner_can_not_read_is_a_dead_letter_and_neither_holds_up_nor_stays(disk, body):
    """T1, D6."""
    async with Cluster(disk, *RULES) as site:
        receiver, owner = site.members["gw.a"], site.members["gw.b"]
        site.happen("gw.a", "hot")
        receiver.db.execute("UPDATE rule_heard SET body = ?", (body,))
        await site.mend()

        letters = [topic for (topic,) in owner.db.execute("SELECT topic FROM dead_letter")]
        assert letters == ["rules/windows"]
        assert (receiver.waiting, receiver.kept) == (0, 0)


@pytest.mark.parametrize("state", [b"not packed", packed({"tracks": []})])
async def test_a_checkpoint_that_can_not_be_read_is_tried_again_and_stops_nobody(disk, state):
    """D6: as of a newer gateway."""
    async with Cluster(disk, *RULES) as site:
        (value,) = parts_of(Kept({}, state))
        await site.shared.set(part(key_of(HOME, DEVICE), 0), value)

        with pytest.raises(LoadFailed, match="can't be read"):
            await site.load()


async def test_what_an_owner_judges_counts_for_the_partition_and_nothing_at_who_received_it(disk):
    """D4, ADR 71."""
    async with Cluster(disk, *RULES) as site:
        for _ in range(3):
            site.happen("gw.a", "hot")
        await site.settle()

        assert site.members["gw.b"].done == {HOME: 3}
        assert site.members["gw.a"].done.total() == 0


async def test_an_owner_knows_what_a_device_has_told_of_itself_elsewhere(disk):
    """D4, E2: a rule of a folder is for devices by their type, of which only the gateway knows that has them."""
    async with Cluster(disk, {**RULES[1], "devices": {"type": "pump"}}) as site:
        told = {"type": "pump", "tags": {}}
        receiver = site.members["gw.a"]
        receiver.store.commit(receiver.store.transforming.meet, DEVICE, told)
        receiver.rules.retarget()
        for _ in range(3):
            site.happen("gw.a", "hot")
        await site.settle()

        assert [rule for _, rule in site.commands] == ["often"]


async def test_an_owner_forgets_nothing_of_a_device_that_has_told_its_receiver_nothing(disk):
    """D4, E2: as where a device has just come, and was not asked yet what it is."""
    async with Cluster(disk, RULES[0], {**RULES[1], "devices": {"type": "pump"}}) as site:
        owner = site.members["gw.b"]
        owner.store.commit(owner.store.transforming.meet, DEVICE, {"type": "pump", "tags": {}})
        owner.rules.retarget()
        for name in ("gw.a", "gw.b", "gw.b"):
            site.happen(name, "hot")
            await site.settle()

        assert [rule for _, rule in site.commands] == ["often"]


async def test_a_source_of_which_nothing_is_remembered_leaves_nothing_behind(disk):
    """D2: rules that see nothing of it at the owner, as where folders differ."""
    async with Cluster(disk, *RULES) as site:
        site.members["gw.b"].hear(Rules({}))
        site.happen("gw.a", "hot")
        await site.mend()

        (entry,) = site.shared.below(key_of(HOME, DEVICE))
        assert site.members["gw.a"].kept == 0
        assert entry.ttl_ms > 0
