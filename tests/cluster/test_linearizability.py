"""The checker of histories: it passes what could have happened, fails what could not, and says where. (V2, V4)"""

import itertools
import math
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster import checks
from cluster.checks import Held
from cluster.linearizability import HISTORIES, Log, Map, Operation, Register, assert_linearizable, check, keep, load


def history(*rows, key="k"):
    """Operations from rows (client, called, returned, action, arguments, result)."""
    return [
        Operation(client, key, action, arguments, result, called, returned)
        for client, called, returned, action, arguments, result in rows
    ]


GOOD = {
    "a read beside a write sees either": history(
        ("a", 0, 10, "write", (1,), None), ("b", 1, 2, "read", (), None), ("c", 3, 4, "read", (), 1)
    ),
    "an unknown write shows late": history(
        ("a", 0, None, "write", (1,), None), ("b", 5, 6, "read", (), None), ("b", 7, 8, "read", (), 1)
    ),
    "an unknown write never shows": history(
        ("a", 0, None, "write", (1,), None), ("b", 5, 6, "read", (), None), ("b", 7, 8, "write", (2,), None)
    ),
    "one compare-and-set wins": history(
        ("a", 0, 5, "compare_and_set", (None, 1), True), ("b", 0, 5, "compare_and_set", (None, 2), False)
    ),
}
BAD = {
    "lost write": history(("a", 0, 1, "write", (1,), None), ("b", 2, 3, "read", (), None)),
    "stale read": history(
        ("a", 0, 1, "write", (1,), None),
        ("a", 2, 5, "write", (2,), None),
        ("b", 3, 4, "read", (), 2),
        ("c", 4.5, 4.8, "read", (), 1),
    ),
    "both compare-and-sets won": history(
        ("a", 0, 5, "compare_and_set", (None, 1), True), ("b", 0, 5, "compare_and_set", (None, 2), True)
    ),
    "a deleted key is read": history(
        ("a", 0, 1, "write", (1,), None), ("a", 2, 3, "delete", (), None), ("b", 4, 5, "read", (), 1)
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_could_have_happened_passes(name):
    assert check(GOOD[name], Register) == []


@pytest.mark.parametrize("name", BAD)
def test_what_could_not_have_happened_fails(name):
    assert len(check(BAD[name], Register)) == 1


def test_what_was_applied_twice_fails():
    twice = history(("a", 0, 1, "append", ("x",), 1), ("b", 2, 3, "read", (), ("x", "x")))

    assert check(twice, Log)
    assert not check(twice[:1] + history(("b", 2, 3, "read", (), ("x",))), Log)


def test_half_a_transaction_is_not_seen():
    both = (("x", 1), ("y", 1))
    write = ("a", 0, 5, "transaction", ((), both), True)

    whole = history(write, ("b", 1, 2, "read", ("x", "y"), (1, 1)), key="")
    half = history(write, ("b", 1, 2, "read", ("x", "y"), (1, None)), key="")

    assert (check(whole, Map), len(check(half, Map))) == ([], 1)


def test_a_failing_history_says_where_and_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.linearizability.keep", lambda *told, **more: keep(*told, **more, folder=tmp_path))

    with pytest.raises(AssertionError) as failed:
        assert_linearizable(BAD["lost write"], Register, "lost-write")

    text = str(failed.value)
    assert "key 'k' is not linearizable: 1 operations can be put in order" in text
    assert "then the state is 1" in text
    assert "b: read() -> None" in text
    assert load(next(tmp_path.glob("lost-write-*.json"))) == (BAD["lost write"], Register, False)


@pytest.mark.parametrize("path", sorted(HISTORIES.glob("*.json")), ids=lambda path: path.stem)
def test_kept_histories_are_judged_as_ever(path):
    operations, model, linearizable = load(path)

    assert (not check(operations, model)) is linearizable


class Simulated:
    """Clients of registers that are correct: each operation takes effect at a moment between its call and return.

    Of a share of them nobody knows the outcome: half of these take effect late, and half never.
    """

    def __init__(self, seed, clients, keys, count, unknown=0.02):
        self.random = random.Random(seed)
        self.values = itertools.count(1)
        self.state = {}
        free = dict.fromkeys(range(clients), 0.0)
        planned = []
        for _ in range(count):
            client = min(free, key=free.get)
            called = free[client] + self.random.expovariate(1)
            takes = self.random.expovariate(1) + 0.001
            returned = called + takes
            happens = called + takes * self.random.random()
            if self.random.random() < unknown:
                returned, happens = None, called + self.random.choice((10 * takes, math.inf))
            planned.append((happens, client, called, returned))
            free[client] = called + takes
        planned.sort(key=lambda one: one[0])
        self.operations = [self._happen(f"k{self.random.randrange(keys)}", *one) for one in planned]

    def _happen(self, key, happens, client, called, returned):
        state = self.state.get(key)
        action = self.random.choice(("read", "read", "write", "compare_and_set", "delete"))
        arguments, result = (), None
        if action == "write":
            arguments = (next(self.values),)
        elif action == "compare_and_set":
            arguments = (state if self.random.random() < 0.7 else -1, next(self.values))
            result = arguments[0] == state
        elif action == "read":
            result = state
        one = Operation(f"c{client}", key, action, arguments, result, called, returned)
        if happens < math.inf:
            self.state[key] = Register.step(state, one)[1]
        return one if returned is not None else one._replace(result=None)


@given(seed=st.integers(0, 2**32), clients=st.integers(1, 10), keys=st.integers(1, 3))
@settings(max_examples=30)
def test_what_a_correct_store_does_passes(seed, clients, keys):
    assert check(Simulated(seed, clients, keys, 60).operations, Register) == []


@given(seed=st.integers(0, 2**32), clients=st.integers(1, 10))
@settings(max_examples=30)
def test_a_read_of_what_was_overwritten_fails(seed, clients):
    operations = Simulated(seed, clients, 1, 60).operations
    writes = [one for one in operations if one.action == "write" and one.returned is not None]
    stale = [
        (old, place)
        for place, read in enumerate(operations)
        if read.action == "read"
        for old, new in itertools.permutations(writes, 2)
        if old.returned < new.called and new.returned < read.called
    ]

    for old, place in stale[:3]:
        mutated = list(operations)
        mutated[place] = operations[place]._replace(result=old.arguments[0])
        assert len(check(mutated, Register)) == 1


STEPS = (("read", (), None), ("read", (), 1), ("read", (), 2), ("write", (1,), None), ("write", (2,), None))
STEPS += (("compare_and_set", (1, 2), True), ("compare_and_set", (1, 2), False), ("delete", (), None))


@st.composite
def small_histories(draw):
    rows = []
    for place in range(draw(st.integers(1, 5))):
        called = draw(st.integers(0, 8))
        returned = draw(st.one_of(st.none(), st.integers(called, 9)))
        rows.append((f"c{place}", called, returned, *draw(st.sampled_from(STEPS))))
    return history(*rows)


@given(small_histories())
@settings(max_examples=200)
def test_the_search_agrees_with_trying_all_orders(operations):
    assert (check(operations, Register) == []) is _some_order_fits(operations)


def _some_order_fits(operations):
    known = [one for one in operations if one.returned is not None]
    unknown = [one for one in operations if one.returned is None]
    chosen = (known + list(some) for size in range(len(unknown) + 1) for some in itertools.combinations(unknown, size))
    return any(_fits(order) for one in chosen for order in itertools.permutations(one))


def _fits(order):
    state = Register.START
    for place, one in enumerate(order):
        if any(later.returned is not None and later.returned < one.called for later in order[place:]):
            return False
        fits, state = Register.step(state, one)
        if not fits:
            return False
    return True


def test_ten_thousand_operations_take_seconds():
    operations = Simulated(1, clients=10, keys=20, count=10_000).operations

    begun = time.process_time()
    found = check(operations, Register)

    assert found == []
    assert time.process_time() - begun < 10


def test_a_search_that_takes_too_long_says_so(monkeypatch):
    monkeypatch.setattr("cluster.linearizability.STATES", 100)
    operations = Simulated(1, clients=5, keys=1, count=60, unknown=0.4).operations
    last = history(("c", 1e6, 1e6 + 1, "read", (), -1), key="k0")

    (stuck,) = check(operations + last, Register)

    assert str(stuck).startswith("key 'k0' was not found linearizable in time: ")


def test_a_watch_that_leaves_out_repeats_or_turns_round_is_found():
    committed = [(1, "a"), (2, "b"), (3, "c")]

    assert checks.missed(committed, committed) == []
    assert checks.missed(committed, committed[1:]) == ["not told: (1, 'a')"]
    assert checks.missed(committed, [*committed, committed[2]]) == ["told twice: (3, 'c')"]
    assert checks.missed(committed, [committed[1], committed[0], committed[2]]) == ["told out of order: (1, 'a')"]
    assert checks.missed(committed, [*committed, (4, "d")]) == ["told, but never committed: (4, 'd')"]


def test_two_owners_and_a_used_fencing_version_are_found():
    first, second = Held(7, "gw.a", 3, 0.0, 5.0), Held(7, "gw.b", 4, 5.0, 9.0)

    assert checks.overlapping([second, first, Held(8, "gw.a", 3, 0.0, 9.0)]) == []
    assert len(checks.overlapping([first, second._replace(begun=4.9)])) == 1
    assert len(checks.overlapping([first, second._replace(version=3)])) == 1


def test_a_command_that_is_executed_twice_is_found():
    assert checks.executed_twice(["c1", "c2"]) == []
    assert checks.executed_twice(["c1", "c2", "c1"]) == ["executed 2 times: c1"]
