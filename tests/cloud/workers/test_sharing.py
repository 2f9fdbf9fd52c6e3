"""Slots are shared out fairly, by few moves, and never to two. (A7, T5)"""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_cloud.workers.sharing import move, shares, spans
from fieldloom_contract.topics import SLOTS

NAMES = st.text("abcdefgh", min_size=1, max_size=3)
WORKERS = st.lists(NAMES, min_size=1, max_size=9, unique=True)
DEEDS = st.lists(st.tuples(st.sampled_from(["join", "die", "turn"]), st.integers(0, 99)), max_size=30)


class Table:
    """The slots as the database has them, and the workers that live; each turn is a transaction."""

    def __init__(self):
        self.owners = dict.fromkeys(range(SLOTS))
        self.fences = dict.fromkeys(range(SLOTS), 0)
        self.had = set()
        self.living = []
        self.moves = 0

    def turn(self, me):
        moved = move(self.owners, self.living, me)
        for slot in moved.give:
            assert self.owners[slot] == me
            self.owners[slot] = None
        for slot in moved.take:
            assert self.owners[slot] not in self.living, "what somebody has who lives was taken"
            self.owners[slot] = me
            self.fences[slot] += 1
            assert (slot, self.fences[slot]) not in self.had, "a fencing number has two owners"
            self.had.add((slot, self.fences[slot]))
        self.moves += len(moved.take)

    def settle(self):
        for _ in range(2):  # who has too many gives them back, then who has too few takes them
            for worker in self.living:
                self.turn(worker)


@settings(max_examples=60, deadline=None)
@given(WORKERS, DEEDS)
def test_all_slots_are_owned_once_and_fairly_whoever_comes_and_goes(names, deeds):
    table = Table()
    for deed, number in deeds:
        name = names[number % len(names)]
        if deed == "join" and name not in table.living:
            table.living.append(name)
        elif deed == "die" and name in table.living:
            table.living.remove(name)
        elif deed == "turn" and name in table.living:
            table.turn(name)
    table.living = table.living or names[:1]
    table.settle()

    counted = Counter(table.owners.values())
    assert set(counted) == set(table.living)
    assert max(counted.values()) - min(counted.values()) <= 1
    before = table.moves
    table.settle()
    assert table.moves == before, "what is fair moves no more"


@settings(max_examples=60, deadline=None)
@given(WORKERS, st.integers(0, 99))
def test_one_that_comes_or_goes_moves_its_own_share_alone(names, number):
    table = Table()
    table.living = list(names)
    table.settle()
    fair = -(-SLOTS // len(names))

    leaver = names[number % len(names)]
    leader = table.owners[0]
    before = table.moves
    table.living.remove(leaver)
    if table.living:
        table.settle()
        assert table.moves - before <= fair
        assert leader == leaver or table.owners[0] == leader
    table.living.append(leaver)
    before = table.moves
    table.settle()
    assert table.moves - before <= fair
    assert table.owners[0] != leaver or not names[1:], "who comes does not become the leader"


@given(st.dictionaries(NAMES, st.integers(0, SLOTS), min_size=1))
def test_shares_add_up(owned):
    found = shares(owned, SLOTS)

    assert sum(found.values()) == SLOTS
    assert max(found.values()) - min(found.values()) <= 1


def test_spans_are_read_by_people():
    assert spans([]) == "no slots"
    assert spans([7, 0, 1, 2]) == "4 slots (0-2, 7)"
