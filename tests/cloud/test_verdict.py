"""The verdict on a window, against a world that knows what became of each record. (T8)"""

import random
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_cloud.completeness.verdict import (
    COMPLETE,
    DROPPED,
    FINAL,
    IN_GATEWAY,
    INCOMPLETE,
    LOST,
    NOT_SENT,
    OPEN,
    SLACK_MS,
    UNKNOWN,
    Drop,
    Known,
    Missing,
    Sighting,
    Word,
    judge,
)
from fieldloom_cloud.ingest.standing import Standing
from fieldloom_contract.ranges import Ranges

START = 1_790_000_000_000
HOUR = 3_600_000
OFFSETS = (-4000, 4000)  # of the gateways' clocks

HERE = Standing("gw.one", is_online=True, settled=START + 10 * HOUR, since=None, is_behind=False, holds=[])


def known(**fields):
    """Boot 7: seq 10 before the window, 20 after it, all of it received."""
    usual = {"received": {7: [[1, 30]]}, "inside": [], "dated": {7}, "drops": [], "word": None, "keepers": [HERE]}
    usual |= {"before": Sighting(7, 10, START - 1), "after": Sighting(7, 20, START + HOUR)}
    return Known(**(usual | fields))


def verdict(**fields):
    return judge(known(**fields), START, START + HOUR)


def test_a_boot_without_holes_around_a_window_is_complete_without_a_word_of_anybody():
    assert verdict(keepers=[]) == (COMPLETE, [], [], START + HOUR)


def test_what_is_missing_is_where_somebody_has_told_that_it_is():
    gap = {"received": {7: [[1, 12], [16, 30]]}}
    quiet = Word(is_online=True, at=START + 3 * HOUR, waiting=0, quiet_at=START + 3 * HOUR)
    busy = quiet._replace(waiting=5, quiet_at=None)
    away = HERE._replace(is_online=False, settled=None)
    cases = [
        ({"word": quiet}, LOST, None),
        ({"word": busy}, NOT_SENT, None),
        ({"word": busy._replace(is_online=False)}, UNKNOWN, None),
        ({"word": quiet, "keepers": [away]}, UNKNOWN, "gw.one"),
        ({"word": quiet, "keepers": [HERE._replace(settled=START, is_behind=True)]}, UNKNOWN, "gw.one"),
        ({"word": quiet, "keepers": [HERE._replace(holds=[(7, 13, 15)])]}, IN_GATEWAY, "gw.one"),
        ({"drops": [Drop(7, 11, 15, "full", START)]}, DROPPED, None),
    ]
    for fields, where, gateway in cases:
        status, (missing,), _, _ = verdict(**gap, **fields)

        assert (missing.boot, missing.first, missing.last) == (7, 13, 15)
        assert (missing.where, missing.gateway) == (where, gateway), fields
        assert status == (INCOMPLETE if where in FINAL else OPEN)


def test_a_gateway_that_gave_up_what_its_covers_say_is_believed():
    told = verdict(drops=[Drop(7, 12, 13, "lowest_priority", START, by_gateway=True)])

    assert told == (INCOMPLETE, [Missing(7, 12, 13, DROPPED, "lowest_priority")], [], START + HOUR)


def test_a_new_boot_hides_the_end_of_the_one_before_until_all_is_delivered():
    boots = {"after": Sighting(9, 5, START + HOUR), "received": {7: [[1, 12]], 9: [[1, 5]]}, "dated": {7, 9}}
    quiet = Word(is_online=True, at=START + 2 * HOUR, waiting=0, quiet_at=START + 2 * HOUR)
    replaced = HERE._replace(since=START + 1)

    assert verdict(**boots).status == OPEN
    assert verdict(**boots, word=quiet).status == COMPLETE
    assert verdict(**boots, word=quiet, keepers=[]).status == OPEN
    assert verdict(**boots, word=quiet, keepers=[replaced]).status == OPEN
    unseen = verdict(**boots, word=quiet, drops=[Drop(8, 1, 4, "full", START)])
    assert unseen.missing == [Missing(8, 1, 4, DROPPED, "full")]


def test_a_window_up_to_now_is_open_at_its_end_alone():
    young = {"after": None, "inside": [(Sighting(7, 11, START + 5), Sighting(7, 30, START + 9))]}
    word = Word(is_online=True, at=START + 10, waiting=4, quiet_at=None)

    assert verdict(**young)[::3] == (OPEN, START + 9)
    assert verdict(**young, word=word).missing == [Missing(7, 31, None, NOT_SENT)]


class World:
    """A device, two gateways and a cloud; time goes on with each step."""

    def __init__(self):
        self.now = START
        self.boot, self.seq = 1, 0
        self.truth = {}  # (boot, seq): ts
        self.waiting = []  # at the device, as items
        self.unreported = []
        self.outboxes = [[], []]
        self.numbered, self.stored_up_to = [0, 0], [0, 0]
        self.told = [None, None]  # (at, numbered, holds)
        self.settled = [None, None]
        self.at = 0  # the gateway that hears the device
        self.stored, self.sightings = set(), []
        self.received = defaultdict(Ranges)
        self.drops, self.dropped, self.quiet_at, self.word = [], set(), None, None

    def number(self, drop=None):
        self.seq += 1
        self.truth[self.boot, self.seq] = self.now
        self.waiting.append((self.boot, self.seq, self.now, drop))

    def measure(self):
        self.number()

    def reboot(self):
        self.boot, self.seq = self.boot + 1, 0

    def move(self):
        self.at = 1 - self.at

    def report_drops(self):
        for boot, seq in self.unreported:
            self.number(Drop(boot, seq, seq, "full", self.now))
        self.unreported = []

    def send(self):
        self.report_drops()
        self.put(*self.waiting)
        self.waiting = []

    def send_one(self):
        self.report_drops()
        if self.waiting:
            self.put(self.waiting.pop(0))

    def send_later_one(self):
        if len(self.waiting) > 1:
            self.put(self.waiting.pop())

    def put(self, *items):
        self.outboxes[self.at] += items
        self.numbered[self.at] += len(items)

    def tell(self):
        self.report_drops()
        at = self.now + OFFSETS[self.at]
        self.put(("state", at, len(self.waiting)))

    def drop(self):
        if self.waiting:
            boot, seq, _, told = self.waiting.pop(0)
            if told:  # a report goes on in the next one
                self.unreported.append((told.boot, told.first))
            self.unreported.append((boot, seq))
            self.dropped.add((boot, seq))

    def lose(self):
        """Lose a record in silence, but none that nobody could miss: not the newest of its boot."""
        if self.waiting and self.waiting[0][3] is None:
            boot, seq = self.waiting[0][:2]
            if (boot, seq + 1) in self.truth:
                self.waiting.pop(0)

    def forward(self, gateway, count=4):
        for _ in range(min(count, len(self.outboxes[gateway]))):
            self.store(self.outboxes[gateway].pop(0))
            self.stored_up_to[gateway] += 1

    def store(self, item):
        if item[0] == "state":
            if self.word is None or item[1] >= self.word[0]:
                self.word = (item[1], item[2])
                self.quiet_at = item[1] if not item[2] else self.quiet_at
            return
        if item[0] == "given up":
            self.drops.append(item[1])
            return
        boot, seq, ts, drop = item
        self.stored.add((boot, seq))
        self.received[boot].add(seq)
        self.sightings.append(Sighting(boot, seq, ts))
        if drop:
            self.drops.append(drop)

    def give_up(self, gateway):
        """Drop the front of an outbox, if it is a reading."""
        box = self.outboxes[gateway]
        if box and isinstance(box[0][0], int) and box[0][3] is None:
            boot, seq, _, _ = box.pop(0)
            self.stored_up_to[gateway] += 1
            self.dropped.add((boot, seq))
            box.append(("given up", Drop(boot, seq, seq, "oldest", self.now, by_gateway=True)))
            self.numbered[gateway] += 1

    def say(self, gateway):
        had = self.told[gateway]
        if had and self.stored_up_to[gateway] >= had[1]:
            self.settled[gateway] = had[0]
        held = [(item[0], item[1], item[1]) for item in self.outboxes[gateway] if isinstance(item[0], int)]
        self.told[gateway] = (self.now + OFFSETS[gateway], self.numbered[gateway], held)

    def keeper(self, gateway):
        told = self.told[gateway]
        if told is None:
            return Standing(f"gw.{gateway}", False, None, None, False, [])
        if self.stored_up_to[gateway] >= told[1]:
            return Standing(f"gw.{gateway}", True, told[0], None, False, [])
        return Standing(f"gw.{gateway}", True, self.settled[gateway], None, True, told[2])

    def known(self, start, end):
        by_time = sorted(self.sightings, key=lambda one: one.ts)
        inside = defaultdict(list)
        for one in by_time:
            if start <= one.ts < end:
                inside[one.boot].append(one)
        return Known(
            {boot: ranges.spans for boot, ranges in self.received.items()},
            max((one for one in by_time if one.ts < start), key=lambda one: one.ts, default=None),
            [(min(seen), max(seen)) for seen in inside.values()],
            min((one for one in by_time if one.ts >= end), key=lambda one: one.ts, default=None),
            {one.boot for one in by_time},
            self.drops,
            Word(True, *self.word, self.quiet_at) if self.word else None,
            [self.keeper(0), self.keeper(1)],
        )

    def settle(self):
        """Deliver all, and have everybody say so."""
        self.send()
        self.now += 3 * SLACK_MS
        self.tell()
        for gateway in (0, 1):
            self.forward(gateway, 10_000)
        self.now += 3 * SLACK_MS
        for gateway in (0, 1):
            self.say(gateway)


OF_DEVICE = ("measure",) * 6 + ("send",) * 2 + ("send_one", "send_later_one", "tell", "reboot", "move", "drop", "lose")
OF_GATEWAY = ("forward",) * 4 + ("say",) * 2 + ("give_up",)


def lived(chance):
    """Return a world after some steps."""
    world = World()
    for _ in range(chance.randrange(5, 80)):
        world.now += chance.randrange(1, SLACK_MS)
        if chance.random() < 0.6:
            getattr(world, chance.choice(OF_DEVICE))()
        else:
            getattr(world, chance.choice(OF_GATEWAY))(chance.randrange(2))
    return world


@given(st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_no_verdict_says_more_than_the_world_bears_out(seed):
    chance = random.Random(seed)
    world = lived(chance)
    times = [START, *world.truth.values(), world.now]
    windows = [sorted(chance.choices(times, k=2)) for _ in range(20)]

    for first, last in windows:
        check(world, first, last)

    world.settle()
    for first, last in windows:
        assert check(world, first, last).status != OPEN


def check(world, first, last):
    """Hold the verdict on a window, both ends included, against the truth, and return it."""
    told = judge(world.known(first, last + 1), first, last + 1)

    absent = {life for life, ts in world.truth.items() if first <= ts <= last} - world.stored
    named = {
        (one.boot, seq): one.where
        for one in told.missing
        if one.last is not None
        for seq in range(one.first, one.last + 1)
    }
    final = {life for life, where in named.items() if where in FINAL}
    held = {item[:2] for item in world.waiting} | {item[:2] for box in world.outboxes for item in box}
    assert not named.keys() & world.stored
    assert told.status == OPEN or absent <= final
    assert told.status != COMPLETE or not absent
    assert not {life for life, where in named.items() if where == LOST} & held
    assert {life for life, where in named.items() if where == DROPPED} <= world.dropped
    if told.settled is not None:
        assert {life for life in absent if world.truth[life] < told.settled} <= final
    return told
