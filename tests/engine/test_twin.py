"""The twin's engine: patches, versions, delta; and that all ends alike whatever is lost, late or doubled. (R4)"""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fieldloom_engine import twin
from fieldloom_engine.twin import Desired, Patch, Reported


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


def patched(*patches, start=None, seen=0):
    desired = start or Desired()
    for one in patches:
        desired, _ = twin.apply(desired, one, seen)
    return desired


def test_a_patch_is_applied_once_and_counts_only_if_it_changes_something():
    slow, fast, same = Patch("1", {"interval": 5}), Patch("2", {"interval": 1}), Patch("3", {"interval": 1})

    desired = patched(slow, fast, slow, same, fast)

    assert desired == Desired(2, {"interval": 1}, ("1", "2", "3"))
    assert patched(Patch("4", {"led": True}), start=Desired(1, {"led": 1})).version == 2, "to Python they are equal"


def test_what_no_message_can_carry_is_refused_and_the_rest_stays():
    desired = patched(Patch("1", {"interval": 5}))

    after, refused = twin.apply(desired, Patch("2", {"note": "x" * 4096}))

    assert after == desired._replace(applied=("1", "2"))
    assert refused.startswith("payload: has 41")
    assert twin.apply(desired, Patch("3", {"deep": json_of_depth(17)}))[1] == "values: is nested too deeply"


def json_of_depth(depth):
    return {"a": json_of_depth(depth - 1)} if depth else 1


def test_an_owner_that_lost_its_disk_takes_over_what_is_known_and_counts_on_above_all():
    known = Desired(7, {"interval": 5, "led": 2})

    told = patched(Patch(None, {}, known), seen=7)
    late = patched(Patch("9", {"led": None}, known), seen=9)

    assert told == known
    assert late == Desired(10, {"interval": 5}, ("9",))
    assert patched(Patch(None, {}), start=Desired(1, {"led": 2}), seen=9) == Desired(10, {"led": 2})
    assert patched(Patch("9", {"led": 3}, Desired(2, {})), start=known) == Desired(8, {"interval": 5, "led": 3}, ("9",))


@pytest.mark.parametrize(("version", "seen", "after"), [(0, 7, 0), (3, 0, 3), (3, 2, 3), (3, 3, 4), (3, 7, 8)])
def test_a_fresh_disk_counts_on_above_what_a_device_had_from_another(version, seen, after):
    assert twin.meet(Desired(version, {"a": 1}), seen) == Desired(after, {"a": 1})


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


class Gateway:
    """The owner: what it has on its disk, in one transaction a step; `up` is its outbox of a stream."""

    lives = count(1)

    def __init__(self):
        self.life = next(self.lives)
        self.desired, self.seen, self.taken = Desired(), None, 0  # seen: None until the device was heard of
        self.outbox = []

    def patch(self, patch):
        self.desired, _ = twin.apply(self.desired, patch, self.seen or 0)
        self.outbox.append(("desired", self.desired, patch.id))

    def hear(self, seen):
        if self.seen is None:
            self.desired = twin.meet(self.desired, seen)
            self.outbox.append(("desired", self.desired, None))
        self.seen = seen

    def lags(self):
        return self.seen is not None and self.seen < self.desired.version


class Fleet(RuleBasedStateMachine):
    """A cloud, an owner and a device. Messages between owner and device get lost, doubled and late; the streams to and
    from the cloud are repeated from their last acknowledgement; each end loses its power, two of them their disks."""

    patches = st.fixed_dictionaries({}, optional={name: st.integers(0, 2) | st.none() for name in "abc"})

    @initialize()
    def begin(self):
        self.numbers = count(1)
        self.gateway = Gateway()
        self.down, self.acked = [], 0  # the cloud's stream to the gateway, and how far that has acknowledged it
        self.streams = {}  # how far the cloud has a gateway's stream, by its life
        self.known, self.pending, self.told = Desired(), {}, Reported()
        self.device, self.reports, self.flying = Reported(), [], []
        self.was_emptied = self.has_lost_something = False
        self.applied = Desired()  # by a model of one owner that never fails
        self.highest = 0

    # --- what people do

    @rule(changes=patches)
    def patch_in_the_cloud(self, changes):
        name = f"c{next(self.numbers)}"
        self.pending[name] = changes
        self.down.append(Patch(name, changes, self.known))

    @rule(changes=patches)
    def patch_at_the_gateway(self, changes):
        # Who knows less than the device has to hear from the cloud first.
        if self.gateway.seen is not None and self.gateway.seen <= self.gateway.desired.version:
            self.has_lost_something |= self.gateway.desired.version < self.known.version
            self.apply_at_the_gateway(Patch(f"g{next(self.numbers)}", changes))

    def apply_at_the_gateway(self, patch):
        is_new = patch.id not in (None, *self.applied.applied)
        self.gateway.patch(patch)
        if is_new:
            self.applied, _ = twin.apply(self.applied, patch._replace(known=Desired()))

    # --- between cloud and gateway

    @rule(until=st.integers(1, 4), is_acked=st.booleans())
    def the_gateway_hears_from_the_cloud(self, until, is_acked):
        """From the oldest that is not acknowledged on; an acknowledgement may be lost."""
        self.gateway.taken = max(self.gateway.taken, self.acked)
        for number in range(self.acked + 1, min(self.acked + until, len(self.down)) + 1):
            if number == self.gateway.taken + 1:
                self.apply_at_the_gateway(self.down[number - 1])
                self.gateway.taken = number
        if is_acked:
            self.acked = self.gateway.taken

    @rule(until=st.integers(1, 4))
    def the_cloud_hears_from_the_gateway(self, until):
        life, outbox = self.gateway.life, self.gateway.outbox
        if life not in self.streams:
            self.streams[life] = 0
            self.restore()
        for record in outbox[self.streams[life] : self.streams[life] + until]:
            self.hear(record)
            self.streams[life] += 1

    @rule()
    def restore(self):
        """A stream that the cloud does not know: the gateway may have nothing of what it had, or all."""
        for name, changes in self.pending.items():
            self.down.append(Patch(name, changes, self.known))
        if not self.pending and self.known.version:
            self.down.append(Patch(None, {}, self.known))

    def hear(self, record):
        if record[0] == "desired":
            _, desired, patch = record
            if desired.version >= self.known.version:
                self.known = desired._replace(applied=())
            self.pending.pop(patch, None)
        else:
            self.told = twin.hear(self.told, record[1])

    # --- between gateway and device

    @rule()
    def the_gateway_sends_what_the_device_lacks(self):
        if self.gateway.lags():
            self.flying.append(self.gateway.desired)

    @rule(data=st.data(), is_repeated=st.booleans())
    def a_message_reaches_the_device(self, data, is_repeated):
        if self.flying:
            at = data.draw(st.integers(0, len(self.flying) - 1))
            desired = self.flying[at] if is_repeated else self.flying.pop(at)
            self.reach_the_device(desired)

    def reach_the_device(self, desired):
        if desired.version > self.device.version:
            self.device = Reported(desired.version, desired.values)
            self.reports.append(self.device)

    @rule()
    def a_message_is_lost(self):
        if self.flying:
            self.flying.pop(0)

    @rule()
    def the_gateway_hears_from_the_device(self):
        if self.reports:
            told = self.reports.pop(0)
            self.gateway.hear(max(self.gateway.seen or 0, told.version))
            self.gateway.outbox.append(("reported", told))

    @rule()
    def the_device_comes_online(self):
        self.gateway.hear(self.device.version)

    # --- what breaks

    @rule(count=st.integers(1, 2))
    def the_device_starts_anew(self, count):
        """What it had in RAM is gone; it reports again what it has."""
        self.reports = self.reports[: len(self.reports) - count]
        if self.device.version:
            self.reports.append(self.device)

    @rule()
    def the_devices_flash_is_erased(self):
        self.device, self.reports = Reported(), []

    @rule()
    def the_gateways_disk_is_lost(self):
        """What it had not told the cloud of is gone, or comes again from there, after what has come since."""
        is_told = self.known[:2] == self.gateway.desired[:2] and self.pending.keys().isdisjoint(
            self.gateway.desired.applied
        )
        self.has_lost_something |= not is_told
        self.gateway = Gateway()
        self.was_emptied = True

    @invariant()
    def versions_never_go_back_for_a_device(self):
        if not self.was_emptied:
            assert self.gateway.desired.version >= self.highest
            self.highest = self.gateway.desired.version

    def teardown(self):
        """In the end all are there. What a lost disk alone knew of comes right with the next patch at the latest."""
        self.meet_all()
        if self.was_emptied:
            self.patch_in_the_cloud({})
            self.meet_all()

        assert self.pending == {}
        assert self.known[:2] == self.gateway.desired[:2]
        assert self.device[:2] == self.gateway.desired[:2] == self.told[:2]
        if not self.has_lost_something:
            assert self.gateway.desired.values == self.applied.values

    def meet_all(self):
        self.the_cloud_hears_from_the_gateway(1000)
        self.the_gateway_hears_from_the_cloud(1000, is_acked=True)
        self.the_device_comes_online()
        self.the_gateway_sends_what_the_device_lacks()
        self.reach_the_device(self.gateway.desired)
        self.the_device_starts_anew(0)
        while self.reports:
            self.the_gateway_hears_from_the_device()
        self.the_cloud_hears_from_the_gateway(1000)


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
