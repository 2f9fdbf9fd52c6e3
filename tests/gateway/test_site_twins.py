"""Twins of a site of several gateways: one thing is wanted of a device, whatever is lost, doubled or late. (R4, D4, D7)

The gateways' databases, decisions and runtimes are the real ones, over a map that may be late, cut off, or leave open
what has become of a write; each of them dies at any commit.
"""

import asyncio
import sqlite3
from collections import Counter
from importlib.resources import files
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fieldloom_contract.desired import parse_desired
from fieldloom_engine import twin
from fieldloom_engine.twin import Desired, Patch, Reported
from fieldloom_gateway.cluster.consensus.port import NoLeader, Unknown
from fieldloom_gateway.cluster.state.errors import Conflict
from fieldloom_gateway.ingest.twins import Twins
from fieldloom_gateway.twins import runtime
from fieldloom_gateway.twins.deciding import Wanted
from fieldloom_gateway.twins.runtime import Runtime
from fieldloom_runtime import records

NOW = 1_790_000_000_000
DEVICE = "dev-1"
GATEWAYS = range(3)
SCHEMA = files("fieldloom_gateway.ingest").joinpath("schema.sql").read_text()


class Killed(BaseException):
    """A gateway has died."""


class Map:
    """The site's map: what is wanted of the one device, and the ids of patches in the order in which they came."""

    def __init__(self):
        self.wanted = Wanted()
        self.taken = []
        self.index = 0

    def write(self, gateway, before, after):
        if before.modified != self.wanted.modified:
            raise Conflict(DEVICE, self.wanted.modified)
        had, has = ([answer.id for answer in one.desired.answers] for one in (self.wanted, after))
        rows = [answer.id for answer in after.done[gateway]]  # in their order; answers stand by whom they are for
        self.taken += sorted((Counter(has) - Counter(had)).elements(), key=rows.index)
        self.index += 1
        self.wanted = after._replace(modified=self.index)


class Copy:
    """A gateway's copy of it, which may be late; `is_cut`: nothing can be written; `hides`: nor is a write answered."""

    def __init__(self, site, gateway):
        self.site, self.gateway = site, gateway
        self.own = site.wanted
        self.is_cut = self.hides = False

    def version(self, device):
        return self.own.desired.version

    def desired(self, device):
        return self.own.desired

    def one(self, device):
        return self.own

    async def write(self, device, before, after):
        if self.is_cut:
            raise NoLeader("cut off")
        try:
            self.site.write(self.gateway, before, after)
        finally:
            self.own = self.site.wanted  # who is answered has all until then
        if self.hides:
            self.hides = False
            raise Unknown("no answer")


class Gateway:
    """One gateway: `up` is its outbox, `sent` what it has sent to the device; it dies at a commit if it is told to."""

    lives = count(1)

    def __init__(self, site, place):
        self.site, self.place, self.life = site, place, next(self.lives)
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(SCHEMA)
        self.up, self.taken = [], 0
        self.dies_in = None
        self.start()

    def start(self):
        self.sent, self.open = [], []
        self.copy = Copy(self.site, f"gw-{self.place}")
        self.twins = Twins(self.db, self.open.append)
        self.twins.share(self.copy)
        self.runtime = Runtime(self.twins, self.copy, self.commit, self.tell, lambda: None, lambda: NOW)
        self.runtime.note([DEVICE])

    async def commit(self, call, *arguments):
        self.die_if_due()
        self.db.execute("BEGIN")
        done = call(*arguments)
        self.db.execute("COMMIT")
        self.up += self.open
        self.open.clear()
        self.die_if_due()
        return done

    async def tell(self, devices):
        self.sent += [behind.payload for behind in self.twins.behind(devices)]

    def die_if_due(self):
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in < 0:
                self.dies_in = None
                raise Killed

    def do(self, awaitable):
        """Go on until it is done, cut off, or this gateway has died and started again."""
        try:
            asyncio.run(awaitable)
        except (NoLeader, Unknown):
            pass
        except Killed:
            self.start()

    def turn(self):
        self.do(self.runtime.turn())

    def catch_up(self):
        self.copy.own = self.site.wanted
        self.runtime.note([DEVICE])


class Fleet(RuleBasedStateMachine):
    """A cloud, three gateways that share a map, and a device that is connected to one of them or to another.

    Messages between gateways and device get lost, doubled and late; the streams to and from the cloud are repeated from
    their last acknowledgement; all lose their power, and gateways their disks, one by one or all of them at once.
    """

    patches = st.fixed_dictionaries({}, optional={name: st.integers(0, 2) | st.none() for name in "abc"})
    places = st.sampled_from(GATEWAYS)

    @initialize(home=places)
    def begin(self, home):
        self.home = home
        self.numbers = count(1)
        self.map = Map()
        self.gateways = [Gateway(self.map, place) for place in GATEWAYS]
        self.down = {place: [] for place in GATEWAYS}  # the cloud's streams, and how far they are acknowledged
        self.acked = dict.fromkeys(GATEWAYS, 0)
        self.streams = {one.life: 0 for one in self.gateways}  # how far the cloud has a gateway's stream
        self.known, self.pending, self.told = Desired(), {}, Reported()
        self.device, self.reports, self.flying = Reported(), [], []
        self.changes = {}
        self.of_gateways = {}  # which patch was made at which life of a gateway
        self.lost_all = self.lost_one = False
        self.highest = 0

    # --- what people and rules do

    @rule(changes=patches)
    def patch_in_the_cloud(self, changes):
        name = f"c{next(self.numbers)}"
        self.pending[name] = self.changes[name] = changes
        for place in GATEWAYS:
            self.down[place].append(Patch(name, changes, self.known))

    @rule(place=places, changes=patches)
    def patch_at_a_gateway(self, place, changes):
        name, gateway = f"g{next(self.numbers)}", self.gateways[place]
        self.changes[name], self.of_gateways[name] = changes, gateway.life
        dies_in, gateway.dies_in = gateway.dies_in, None  # who dies before has been asked for nothing
        gateway.do(gateway.commit(gateway.twins.ask, DEVICE, Patch(name, changes), NOW))
        gateway.dies_in = dies_in

    # --- between the cloud and gateways

    @rule(place=places, until=st.integers(1, 4), is_acked=st.booleans())
    def a_gateway_hears_from_the_cloud(self, place, until, is_acked):
        """From the oldest that is not acknowledged on; an acknowledgement may be lost."""
        gateway, stream = self.gateways[place], self.down[place]
        gateway.taken = max(gateway.taken, self.acked[place])
        for number in range(self.acked[place] + 1, min(self.acked[place] + until, len(stream)) + 1):
            if number == gateway.taken + 1:
                asyncio.run(gateway.commit(gateway.twins.ask, DEVICE, stream[number - 1], NOW))
                gateway.taken = number
        if is_acked:
            self.acked[place] = gateway.taken

    @rule(place=places, until=st.integers(1, 4))
    def the_cloud_hears_from_a_gateway(self, place, until):
        gateway = self.gateways[place]
        if gateway.life not in self.streams:
            self.streams[gateway.life] = 0
            self.restore(place)
        had = self.streams[gateway.life]
        for record in gateway.up[had : had + until]:
            self.hear(record)
            self.streams[gateway.life] += 1

    def restore(self, place):
        """A stream that the cloud does not know: the gateway may have nothing of what it had, or all."""
        for name, changes in self.pending.items():
            self.down[place].append(Patch(name, changes, self.known))
        if not self.pending and self.known.version:
            self.down[place].append(Patch(None, {}, self.known))

    def hear(self, record):
        if isinstance(record, records.Desired):
            if record.version >= self.known.version:
                self.known = Desired(record.version, record.values)
            self.pending.pop(record.patch, None)
        else:
            self.told = twin.hear(self.told, record)

    # --- among gateways

    @rule(place=places)
    def a_gateway_decides(self, place):
        self.gateways[place].turn()

    @rule(place=places)
    def a_gateway_hears_of_the_others(self, place):
        self.gateways[place].catch_up()

    @rule(place=places, is_cut=st.booleans())
    def a_gateway_is_cut_off(self, place, is_cut):
        self.gateways[place].copy.is_cut = is_cut

    @rule(place=places)
    def a_write_is_not_answered(self, place):
        self.gateways[place].copy.hides = True

    # --- between gateways and the device

    @rule(place=places)
    def a_gateway_sends_what_the_device_lacks(self, place):
        gateway = self.gateways[place]
        gateway.do(gateway.tell([DEVICE]))
        self.flying += [parse_desired(payload) for payload in gateway.sent]
        gateway.sent.clear()

    @rule(data=st.data(), is_repeated=st.booleans())
    def a_message_reaches_the_device(self, data, is_repeated):
        if self.flying:
            at = data.draw(st.integers(0, len(self.flying) - 1))
            self.reach_the_device(self.flying[at] if is_repeated else self.flying.pop(at))

    def reach_the_device(self, desired):
        if desired["version"] > self.device.version:
            self.device = Reported(desired["version"], desired["values"])
            self.reports.append(self.device)

    @rule()
    def a_message_is_lost(self):
        if self.flying:
            self.flying.pop(0)

    @rule(place=places)
    def a_gateway_hears_from_the_device(self, place):
        if self.reports:
            told, gateway = self.reports.pop(0), self.gateways[place]
            record = {"version": told.version, "values": told.values, "errors": {}, "more": False}
            asyncio.run(gateway.commit(gateway.twins.hear, DEVICE, record, NOW))
            gateway.up.append(told)

    @rule(place=places)
    def the_device_comes_online(self, place):
        gateway = self.gateways[place]
        asyncio.run(gateway.commit(gateway.twins.meet, DEVICE, self.device.version, NOW))

    # --- what breaks

    @rule(place=places, commits=st.integers(0, 5))
    def a_gateway_dies_at_a_commit(self, place, commits):
        gateway = self.gateways[place]
        gateway.dies_in = commits
        gateway.turn()
        gateway.dies_in = None

    @rule(number=st.integers(1, 2))
    def the_device_starts_anew(self, number):
        """What it had in RAM is gone; it reports again what it has."""
        self.reports = self.reports[: len(self.reports) - number]
        if self.device.version:
            self.reports.append(self.device)

    @rule()
    def the_devices_flash_is_erased(self):
        self.device, self.reports = Reported(), []

    @rule(place=places)
    def a_gateways_disk_is_lost(self, place):
        """What waited there alone is gone; the map is at the others."""
        self.gateways[place].db.close()
        self.gateways[place] = Gateway(self.map, place)
        self.lost_one = True

    @rule()
    def all_disks_are_lost(self):
        """What the cloud was not told is gone, or comes again from there, after what has come since."""
        self.map = Map()
        self.highest = 0
        for place in GATEWAYS:
            self.a_gateways_disk_is_lost(place)
        self.lost_all = True

    @invariant()
    def versions_never_go_back(self):
        assert self.map.wanted.desired.version >= self.highest
        self.highest = self.map.wanted.desired.version

    def teardown(self):
        """In the end all are there. What a lost disk alone knew, or had to tell, comes right with the next patch."""
        self.meet_all()
        if self.lost_one:
            self.patch_at_a_gateway((self.home + 1) % len(GATEWAYS), {"a": 0})
            self.meet_all()
        wanted = self.map.wanted.desired

        assert self.pending == {}
        assert [one.copy.own.desired for one in self.gateways] == [wanted] * 3
        assert self.known[:2] == self.device[:2] == self.told[:2] == wanted[:2]
        if not self.lost_all:
            self.each_patch_was_applied_once_and_told_of()
        for gateway in self.gateways:
            gateway.db.close()

    def each_patch_was_applied_once_and_told_of(self):
        values = {}
        for name in self.map.taken:
            values = twin.merge(values, self.changes[name])
        lives = {one.life for one in self.gateways}
        kept = {name for name in self.changes if self.of_gateways.get(name, min(lives)) in lives}
        words = [record.patch for one in self.gateways for record in one.up if isinstance(record, records.Desired)]

        assert values == self.map.wanted.desired.values
        assert kept <= set(self.map.taken)
        assert len(self.map.taken) == len(set(self.map.taken))
        for name in kept:
            times = words.count(name)
            assert times == 1 if name in self.of_gateways else times >= (not self.lost_one) * len(GATEWAYS), name
        if not self.lost_one:
            assert len([name for name in words if name]) == sum(1 if name in self.of_gateways else 3 for name in kept)

    def meet_all(self):
        """All are there, and the device is at its home: others may have decided what it gets."""
        for gateway in self.gateways:
            gateway.dies_in, gateway.copy.is_cut, gateway.copy.hides = None, False, False
        for _ in range(2):
            for place in GATEWAYS:
                self.the_cloud_hears_from_a_gateway(place, 1000)
                self.a_gateway_hears_from_the_cloud(place, 1000, is_acked=True)
            self.settle()
        self.the_device_comes_online(self.home)
        self.settle()
        self.gateways[self.home].sent.clear()
        self.a_gateway_sends_what_the_device_lacks(self.home)
        if self.flying:
            self.reach_the_device(self.flying[-1])
        self.the_device_starts_anew(0)
        while self.reports:
            self.a_gateway_hears_from_the_device(self.home)
        self.settle()
        for place in GATEWAYS:
            self.the_cloud_hears_from_a_gateway(place, 1000)

    def settle(self):
        for gateway in self.gateways:
            gateway.catch_up()
            gateway.turn()


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_what_a_gateway_did_before_its_death_it_does_not_do_again_however_much_came_since():
    """It dies when the map has its patch and its own disk does not know that; then come more than ids are kept of."""
    site = Map()
    dead, other = (Gateway(site, place) for place in (0, 1))
    dead.do(dead.commit(dead.twins.ask, DEVICE, Patch("early", {"a": "early"}), NOW))
    dead.dies_in = 2 + 2  # moments before and after the comparison, and the reading
    dead.turn()
    for number in range(2 * twin.OF_SITE):
        other.do(other.commit(other.twins.ask, DEVICE, Patch(f"late-{number}", {"a": number}), NOW))
        other.turn()

    dead.catch_up()
    dead.turn()

    assert site.wanted.desired.values == {"a": 2 * twin.OF_SITE - 1}
    assert site.taken.count("early") == 1
    assert [(record.patch, record.error) for record in dead.up] == [("early", None)]
    assert dead.twins.count() == 0


def test_of_two_who_write_at_two_gateways_what_is_meant_for_one_version_one_is_late():
    site = Map()
    gateways = [Gateway(site, place) for place in (0, 1)]

    async def both():
        asked = [one.runtime.ask(DEVICE, Patch(f"p-{one.place}", {"a": one.place}), 0) for one in gateways]
        asking = [asyncio.ensure_future(one) for one in asked]
        while not all(one.done() for one in asking):
            for one in gateways:
                await one.runtime.turn()
            await asyncio.sleep(0)
        return [one.result() for one in asking]

    decided = asyncio.run(both())

    assert [(one.is_late, one.desired.version) for one in decided] == [(False, 1), (True, 1)]
    assert site.wanted.desired.values == {"a": 0}
    assert [[record.patch for record in one.up] for one in gateways] == [["p-0"], []]


def test_who_asks_while_nothing_can_be_decided_is_told_that_it_waits_and_asks_once_more_for_the_same(monkeypatch):
    monkeypatch.setattr(runtime, "ANSWER_WITHIN_S", 0.01)
    gateway = Gateway(Map(), 0)

    answers = [asyncio.run(gateway.runtime.ask(DEVICE, Patch("p", {"a": 1}))) for _ in range(2)]
    refused = asyncio.run(gateway.runtime.ask(DEVICE, Patch("q", {"a": "x" * 5000})))

    assert answers == [None, None]
    assert [row.patch for row in gateway.twins.pending(DEVICE)] == ["p"]
    assert refused.startswith("payload: has 5")


@pytest.mark.parametrize("version", [1, 5])
def test_a_device_with_as_much_or_more_from_lost_disks_gets_what_another_gateway_decides(version):
    site = Map()
    home, other = (Gateway(site, place) for place in (0, 1))
    home.do(home.commit(home.twins.meet, DEVICE, version, NOW))

    other.do(other.commit(other.twins.ask, DEVICE, Patch("p", {"a": 1}), NOW))
    other.turn()
    decided = site.wanted.desired.version
    for _ in range(2):
        home.catch_up()
        home.turn()

    assert decided == 1
    assert [parse_desired(payload) for payload in home.sent] == [{"version": version + 1, "values": {"a": 1}}]
    assert [(record.version, record.patch) for record in home.up] == [(version + 1, None)]
