"""Partitions that follow what is done for them: what moves, and how few. (D4, ADR 71)"""

import itertools
from collections import Counter

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fieldloom_gateway.cluster.partitions.levelling import GOAL, IDLE, LEAST, TRIGGER, level

NAMES = [f"gw.{letter}" for letter in "abcdefg"]
LOADS = st.integers(0, 400)


@st.composite
def sites(draw, gateways=7, least=1, most=60, loads=LOADS):
    """Give owners, gateways of which some may own nothing, and loads."""
    names = NAMES[: draw(st.integers(1, gateways))]
    owning = names[: draw(st.integers(1, len(names)))]
    count = draw(st.integers(least, most))
    owners = {at: draw(st.sampled_from(owning)) for at in range(count)}
    return owners, names, {at: draw(loads) for at in range(count)}


def held(owners, names, loads):
    return {name: sum(loads[at] for at, owner in owners.items() if owner == name) for name in names}


def even(names, loads):
    """The most that anybody has to have: the mean, or the heaviest partition."""
    return max(sum(loads.values()) / len(names), *loads.values())


def moved(before, after):
    return {at: after[at] for at in before if after[at] != before[at]}


def heaviest(owners, names, loads):
    """By gateway the heaviest of its partitions, where that alone is above the mean: it stays."""
    found = [max((at for at in owners if owners[at] == name), key=loads.get, default=None) for name in names]
    return {at for at in found if at is not None and loads[at] > sum(loads.values()) / len(names)}


def least_moves(owners, names, loads, most, least):
    """How many moves it takes until all have so much, None where no moves do: all assignments are looked at."""
    found, fixed = None, heaviest(owners, names, loads)
    for assigned in itertools.product(names, repeat=len(owners)):
        after = dict(zip(owners, assigned, strict=True))
        has, goes = held(after, names, loads).values(), moved(owners, after).keys()
        if (found is None or len(goes) < found) and not goes & fixed and least <= min(has) and max(has) <= most:
            found = len(goes)
    return found


@settings(max_examples=100, deadline=None)
@given(sites())
def test_the_most_loaded_gets_no_more_and_a_second_look_moves_nothing(site):
    owners, names, loads = site
    assume(sum(loads.values()) >= IDLE)
    after = level(owners, names, loads)
    assert set(after) == set(owners)
    assert set(after.values()) <= set(names)
    assert not moved(owners, after).keys() & heaviest(owners, names, loads)
    assert max(held(after, names, loads).values()) <= max(held(owners, names, loads).values())
    assert level(after, names, loads) == after
    assert not [at for at in moved(owners, after) if loads[at] == 0], "what nothing is done for need not move"


@settings(max_examples=100, deadline=None)
@given(sites(), st.randoms())
def test_the_order_in_which_things_are_told_decides_nothing(site, rng):
    owners, names, loads = site
    shuffled = [*owners]
    rng.shuffle(shuffled)
    told = {at: owners[at] for at in shuffled}
    assert level(told, [*reversed(names)], {at: loads[at] for at in shuffled}) == level(owners, names, loads)


@settings(max_examples=100, deadline=None)
@given(sites(gateways=3, least=3, most=5, loads=st.integers(10, 100)))
@example(({0: "gw.a", 1: "gw.a", 2: "gw.a", 3: "gw.a"}, NAMES[:2], {0: 20, 1: 40, 2: 60, 3: 80}))
def test_as_few_move_as_an_exhaustive_search_finds_or_one_more(site):
    owners, names, loads = site
    assume(max(held(owners, names, loads).values()) > TRIGGER * even(names, loads))
    after = level(owners, names, loads)
    least = min(held(after, names, loads).values())
    fewest = least_moves(owners, names, loads, GOAL * even(names, loads), least)
    assert fewest is None or len(moved(owners, after)) <= fewest + 1


@settings(max_examples=100, deadline=None)
@given(sites(gateways=3, least=60, most=90, loads=st.integers(10, 20)))
def test_where_no_partition_is_large_nobody_is_left_with_more_than_the_goal(site):
    owners, names, loads = site
    mean = sum(loads.values()) / len(names)
    assert max(loads.values()) <= (GOAL - 1) * mean
    before, after = (held(one, names, loads) for one in (owners, level(owners, names, loads)))
    assert max(after.values()) <= (GOAL if max(before.values()) > TRIGGER * mean else TRIGGER) * mean


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 7), st.lists(st.integers(8, 10), min_size=56, max_size=56))
def test_what_is_about_even_is_left_alone(count, loads):
    owners = {at: NAMES[at % count] for at in range(len(loads))}
    assert level(owners, NAMES[:count], dict(enumerate(loads))) == owners


def test_nothing_comes_back_when_loads_waver():
    """Loads that change by a twelfth, up or down, move nothing that has just moved."""
    owners = {at: NAMES[at % 3] for at in range(60)}
    loads = {at: 20.0 if owners[at] == "gw.a" else 10.0 for at in owners}
    after = level(owners, NAMES[:3], loads)
    assert moved(owners, after)
    for seed in range(12):
        wavering = {at: load * (1 + (-1) ** (at + seed) / 12) for at, load in loads.items()}
        assert level(after, NAMES[:3], wavering) == after


def test_one_that_is_hot_alone_stays_and_what_is_beside_it_goes():
    owners = {0: "gw.a", **{at: NAMES[at % 3] for at in range(1, 61)}}
    loads = {0: 400.0, **dict.fromkeys(range(1, 61), 10.0)}
    after = level(owners, NAMES[:3], loads)
    assert after[0] == "gw.a"
    assert set(moved(owners, after).values()) == {"gw.b", "gw.c"}
    alone = {at: owner for at, owner in after.items() if owner != "gw.a" or at == 0}
    assert level(alone, NAMES[:3], loads) == alone


def test_of_what_is_enough_the_lightest_goes():
    loads = {0: 60.0, 1: 50.0, 2: 25.0, 3: 30.0, 4: 65.0}
    owners = {**dict.fromkeys(range(4), "gw.a"), 4: "gw.b"}
    assert moved(owners, level(owners, NAMES[:2], loads)) == {1: "gw.b"}


def test_an_idle_site_moves_nothing_for_its_loads():
    owners = {at: NAMES[at % 3] for at in range(60)}
    assert level(owners, NAMES[:3], {0: IDLE * 0.6, 3: IDLE * 0.3}) == owners


@pytest.mark.parametrize("load", [0.0, 10.0], ids=["idle", "busy"])
def test_who_joins_is_given_something_however_many_there_are(load):
    owners = {at: NAMES[at % 6] for at in range(252)}
    after = level(owners, NAMES, dict.fromkeys(owners, load))
    assert set(moved(owners, after).values()) == {"gw.g"}
    assert Counter(after.values())["gw.g"] >= LEAST * 252 / 7
