"""Who holds an actuator: the slots by themselves, held against a model that knows no cleverness. (E9)"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fieldloom_engine.holds import (
    MOVES_NOTHING,
    PRIORITIES,
    Actuator,
    Hold,
    Release,
    Source,
    Wanted,
    acting,
    actuator_of,
    asked_by,
    decode,
    elapse,
    encode,
    keeps_out,
    next_expiry,
    refusal,
    release,
    take,
)

NOW = 1_790_000_000_000


def hold(name, priority="person", owner="anna", at=NOW, expires=None):
    told = {"name": "relay", "value": name}
    source = Source(priority, owner)
    return Hold(id=name, source=source, type="write", parameters=told, since=at, until=at + 300_000, expires=expires)


def words(slots, version=None):
    return [
        (word.what, word.hold.id, word.to.owner if word.to else None, word.waits)
        for word in slots.words
        if version in (None, word.version)
    ]


@pytest.mark.parametrize(
    ("type_", "parameters", "actuator"),
    [
        ("write", {"name": "relay", "value": True}, "relay"),
        ("cooling", {"from": 90}, "cooling"),
        ("cooling", {"name": "fan"}, "cooling"),
        ("write", {"value": True}, None),
        ("write", {"name": 3}, None),
        ("write", {"name": "x" * 65}, None),
        *((type_, {"name": "relay"}, None) for type_ in MOVES_NOTHING),
    ],
)
def test_an_actuator_is_what_a_command_moves(type_, parameters, actuator):
    assert actuator_of(type_, parameters) == actuator


def test_a_higher_hold_wins_and_what_waits_acts_again_when_it_goes():
    slots = take(Actuator(), hold("on", "rule", "hot"), NOW)
    assert (slots.command, words(slots)) == ("on", [("held", "on", None, False)])

    over = take(slots, hold("off", "person", "anna"), NOW + 1)
    assert over.command == "off"
    assert words(over, over.version) == [("lost", "on", "anna", True), ("held", "off", None, False)]

    again = release(over, Release("r", "person", "bob"), NOW + 2)
    assert again.holds == slots.holds
    assert again.command not in ("on", "off")  # the device would take a known id for a repetition
    assert [(word.what, word.by) for word in again.words[-2:]] == [("released", "bob"), ("held", None)]


def test_a_lower_hold_waits_and_is_told_whom_it_lost_to():
    slots = take(Actuator(), hold("off", expires=NOW + 100), NOW)

    slots = take(slots, hold("on", "rule", "hot"), NOW + 1)
    assert (acting(slots, NOW + 1).id, slots.command) == ("off", "off")
    assert words(slots, slots.version) == [("refused", "on", "anna", True)]

    slots = elapse(slots, NOW + 100)
    assert acting(slots, NOW + 100).id == "on"
    assert words(slots, slots.version) == [("released", "off", None, False), ("held", "on", None, False)]


def test_the_newest_hold_of_a_priority_takes_the_slot():
    slots = take(Actuator(), hold("one"), NOW)

    slots = take(slots, hold("two", owner="bob"), NOW + 1)

    assert [one.id for one in slots.holds] == ["two"]
    assert words(slots, slots.version) == [("lost", "one", "bob", False), ("held", "two", None, False)]


def test_a_plain_command_passes_above_a_hold_and_of_its_owner():
    slots = take(Actuator(), hold("two", "workflow", "pump/1", expires=NOW + 10), NOW)

    passes = [Source("safety", "x"), Source("person", "anna"), Source("workflow", "pump/1")]
    refused = [Source("workflow", "pump/2"), Source("rule", "pump/1"), Source("schedule", "x")]
    assert [keeps_out(slots, source, NOW) for source in passes] == [None] * 3
    assert [keeps_out(slots, source, NOW).id for source in refused] == ["two"] * 3
    assert keeps_out(slots, refused[0], NOW + 10) is None


def test_a_hold_whose_time_was_over_before_it_came_takes_no_slot():
    slots = take(Actuator(), hold("late", expires=NOW), NOW)

    assert (slots.holds, slots.command, words(slots)) == ((), "", [("refused", "late", None, False)])


def test_a_refusal_names_who_holds_until_when_and_why():
    told = hold("off", expires=NOW)

    assert refusal(told, "relay").startswith("anna (person) holds relay until 2026-09-21T")
    assert refusal(hold("off"), "relay") == "anna (person) holds relay until released"


def test_an_action_holds_by_its_own_priority_or_the_one_that_it_says():
    assert asked_by("rule", "hot", None, NOW) == (Source("rule", "hot"), None)
    assert asked_by("workflow", "w/1", {"priority": "safety", "reason": "fire", "for": 5}, NOW) == (
        Source("safety", "w/1"),
        Wanted("fire", NOW + 5),
    )


class Slots(RuleBasedStateMachine):
    """Any order of wishes, releases, repetitions and time, with the slots read back from what is kept."""

    @initialize()
    def begin(self):
        self.slots, self.now, self.count = Actuator(), NOW, 0
        self.model = {}
        self.asked, self.commands, self.told = [], {}, []

    def change(self, after):
        before, self.slots = self.slots, decode(encode(after))
        self.told += [word for word in self.slots.words if word.version > before.version]
        assert (self.slots.version > before.version) == (self.slots != before)
        if self.slots.command not in ("", before.command):
            assert self.slots.command not in self.commands
            self.commands[self.slots.command] = self.slots.holds[0].id

    def expire(self):
        self.model = {p: one for p, one in self.model.items() if one.expires is None or one.expires > self.now}

    @rule(priority=st.sampled_from(PRIORITIES), owner=st.sampled_from("ab"), lasts=st.none() | st.integers(0, 20))
    def ask(self, priority, owner, lasts):
        self.count += 1
        expires = None if lasts is None else self.now + lasts
        one = hold(f"h{self.count}", priority, owner, self.now, expires)
        self.change(take(self.slots, one, self.now))
        self.asked.append(one)
        self.model[priority] = one if expires is None or lasts else self.model.get(priority, one)
        self.expire()

    @rule(data=st.data())
    def ask_again(self, data):
        if self.asked:
            assert take(self.slots, data.draw(st.sampled_from(self.asked[-8:])), self.now) is self.slots

    @rule(priority=st.sampled_from(PRIORITIES))
    def free(self, priority):
        self.count += 1
        if priority in self.model:
            self.change(release(self.slots, Release(f"r{self.count}", priority, "bob"), self.now))
            del self.model[priority]
            self.expire()

    @rule(ms=st.integers(0, 15))
    def wait(self, ms):
        self.now += ms
        self.change(elapse(self.slots, self.now))
        self.expire()

    @invariant()
    def the_highest_that_is_held_acts_and_its_command_was_told(self):
        holds = [self.model[priority] for priority in PRIORITIES if priority in self.model]
        kept = [one for one in self.slots.holds if one.expires is None or one.expires > self.now]
        assert kept == holds
        assert acting(self.slots, self.now) == (holds[0] if holds else None)
        if holds:
            assert self.commands[self.slots.command] == holds[0].id
        assert next_expiry(self.slots) == min((h.expires for h in self.slots.holds if h.expires), default=None)

    @invariant()
    def of_each_wish_there_is_one_answer_and_at_most_one_end(self):
        for one in self.asked:
            told = [word for word in self.told if word.hold.id == one.id]
            ends = [word for word in told if word.what == "released" or (word.what == "lost" and not word.waits)]
            assert told[0].what in ("held", "refused")
            assert len(ends) <= 1
            assert not ends or (told[-1] is ends[0] and one not in self.slots.holds)


TestSlots = Slots.TestCase
TestSlots.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
