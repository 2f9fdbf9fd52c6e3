"""The twin's engine: patches, versions, answers, delta. (R4)

That all ends alike whatever is lost, late or doubled is shown in tests/gateway/test_site_twins.py.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldloom_engine import twin
from fieldloom_engine.twin import IDS, OF_SITE, STALE, Answer, Desired, Patch, Reported


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [  # appendix A of RFC 7396
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_are_those_of_rfc_7396(target, patch, merged):
    assert twin.merge(target, patch) == merged


def patched(*patches, start=None, seen=None):
    desired = start or Desired()
    for one in patches:
        desired, _ = twin.apply(desired, one, seen)
    return desired


def test_a_patch_is_applied_once_and_counts_only_if_it_changes_something():
    slow, fast, same = Patch("1", {"interval": 5}), Patch("2", {"interval": 1}), Patch("3", {"interval": 1})

    desired = patched(slow, fast, slow, same, fast)

    assert desired == Desired(2, {"interval": 1}, (Answer("1"), Answer("2"), Answer("3")))
    assert patched(Patch("4", {"led": True}), start=Desired(1, {"led": 1})).version == 2, "to Python they are equal"


def test_what_no_message_can_carry_is_refused_and_the_rest_stays():
    desired, long = patched(Patch("1", {"interval": 5})), Patch("2", {"note": "x" * 4096})

    after, refused = twin.apply(desired, long)
    emptied = patched(Patch("3", {"interval": None}), start=after)

    assert after[:2] == desired[:2]
    assert refused.startswith("payload: has 41")
    assert twin.apply(desired, Patch("2", {"deep": json_of_depth(17)}))[1] == "values: is nested too deeply"
    assert twin.apply(emptied, Patch("2", {"note": ""})) == (emptied, refused), "it is answered as it was before"


def json_of_depth(depth):
    return {"a": json_of_depth(depth - 1)} if depth else 1


def test_who_lost_its_disk_takes_over_what_the_cloud_knows_and_counts_on_above_all():
    known = Desired(7, {"interval": 5, "led": 2})

    told = patched(Patch(None, {}, known), seen=7)
    late = patched(Patch("9", {"led": None}, known), seen=9)

    assert told[:2] == known[:2]
    assert late[:3] == (10, {"interval": 5}, (Answer("9", known=7),))
    assert patched(Patch(None), start=Desired(1, {"led": 2}), seen=9)[:2] == (10, {"led": 2})
    assert patched(Patch("9", {"led": 3}, Desired(2, {})), start=known)[:2] == (8, {"interval": 5, "led": 3})


@pytest.mark.parametrize(("version", "seen", "after"), [(0, 7, 0), (3, 0, 3), (3, 2, 3), (3, 3, 4), (3, 7, 8)])
def test_a_device_that_is_heard_of_first_may_have_its_version_from_a_lost_disk(version, seen, after):
    met = patched(Patch(None), start=Desired(version, {"a": 1}), seen=seen)

    assert met == Desired(after, {"a": 1}, is_met=version > 0)
    assert patched(Patch(None), start=met, seen=after) == met, "from then on it has it from here"


def test_a_patch_of_the_cloud_comes_after_its_id_was_forgotten_and_is_not_applied_again():
    """One gateway was away for long, and gets what the others had in time."""
    sent = [Patch(f"c{number}", {"a": number}, Desired(number)) for number in range(IDS + 10)]
    ours = [Patch(f"s{number}", {"b": number}) for number in range(IDS)]
    desired = patched(*sent, *ours)

    again, after = [], desired
    for one in sent:
        after, error = twin.apply(after, one)
        again.append(error)
    fresh, refused = twin.apply(desired, Patch("new", {"a": 0}, Desired(desired.version)))

    assert after == desired
    assert again == [STALE] * 10 + [None] * IDS
    assert (fresh.values["a"], refused) == (0, None)
    assert len(fresh.answers) == IDS + OF_SITE


def test_two_that_were_apart_become_one_and_no_device_takes_the_one_for_the_other():
    older, newer = Desired(3, {"a": 1}, (Answer("1"),), True), Desired(5, {"a": 2}, (Answer("1"), Answer("2")))
    other = Desired(5, {"a": 3})

    assert twin.adopt(Desired(), newer) == newer
    assert twin.adopt(older, newer) == twin.adopt(newer, older)._replace(answers=(Answer("2"), Answer("1")))
    assert twin.adopt(older, newer)[:2] == (5, {"a": 2})
    assert twin.adopt(newer, other)[:2] == (6, {"a": 2})
    assert twin.adopt(newer, newer) == newer


def test_the_delta_is_what_is_wanted_and_not_reported():
    desired = {"interval": 5, "led": 2, "drivers": {"fan": {"speed": 0.1, "mode": "auto"}}, "on": True, "list": [1, 2]}
    reported = {
        "interval": 5,
        "drivers": {"fan": {"speed": 0.10000000149, "more": 1}},
        "extra": 1,
        "on": 1,
        "list": [1, 2.0],
    }

    assert twin.delta(desired, reported) == {"led": 2, "drivers": {"fan": {"mode": "auto"}}, "on": True}
    assert twin.delta(desired, desired) == {}


def test_a_report_in_parts_is_one_and_a_new_one_begins_anew():
    first = Reported(4, {"drivers": {"a": 1}}, {"led": "no"}, goes_on=True)
    second = Reported(4, {"drivers": {"b": 2}}, {"gateway": "no"})

    whole = twin.hear(twin.hear(Reported(), first), second)

    assert whole == Reported(4, {"drivers": {"a": 1, "b": 2}}, {"led": "no", "gateway": "no"})
    assert twin.hear(whole, first) == first
    assert twin.hear(first, Reported(5, {"x": 1})) == Reported(5, {"x": 1})
    endless = Reported(4, {"y": "y" * 60_000}, goes_on=True)
    assert twin.hear(endless, Reported(4, {"z": "z" * 10_000})) == Reported(4, {"z": "z" * 10_000})


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def without_nulls(value):
    """Members of objects that are null can't be wanted: in a patch they remove."""
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(part) for name, part in value.items() if part is not None}


@given(objects.map(without_nulls), objects.map(without_nulls))
def test_a_delta_put_over_what_is_reported_leaves_none(desired, reported):
    assert twin.delta(desired, twin.merge(reported, twin.delta(desired, reported))) == {}
