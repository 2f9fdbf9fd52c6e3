"""Properties of the contract's parts: spans are a set, frames and messages come back, bytes never crash a parser."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldloom_contract import batch, messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import BROKER_PACKET_BYTES
from fieldloom_contract.ranges import Ranges
from fieldloom_runtime.compression import deflate, inflate

numbers = st.integers(min_value=1, max_value=60)
spans = st.lists(st.tuples(numbers, numbers).map(sorted), max_size=20)


@given(spans)
def test_ranges_are_a_set_of_numbers(added):
    had, model = Ranges(), set()

    for first, last in added:
        new = not set(range(first, last + 1)) <= model
        assert had.add(first, last) == new
        model |= set(range(first, last + 1))

    assert {number for number in range(1, 70) if number in had} == model
    assert had.end == next(number for number in range(1, 70) if number not in model) - 1
    assert all(left[1] + 1 < right[0] for left, right in zip(had.spans, had.spans[1:], strict=False))


@given(spans, numbers)
def test_settling_takes_all_below_as_had(added, first):
    had = Ranges([list(span) for span in added])

    had.settle(first)

    assert had.end >= first - 1


records = st.lists(st.dictionaries(st.text(max_size=5), st.integers()).map(messages.dumps), min_size=1, max_size=9)
covers = st.lists(st.tuples(st.just("dev-1"), numbers, numbers).map(lambda c: [c[0], c[1], c[2], c[2]]), max_size=3)


@given(st.binary(min_size=16, max_size=16), numbers, records, covers)
def test_a_batch_comes_back_as_it_was(stream, offset, bodies, covered):
    back = batch.unpack(batch.pack(stream, offset, 1, covered, bodies))

    assert back == batch.Batch(stream, offset, 1, covered, bodies)
    assert batch.unpack_ack(batch.pack_ack(stream, offset)) == (stream, offset)


@given(st.binary(min_size=16, max_size=16), numbers, records, covers, st.integers(1, 60))
def test_a_large_batch_is_compressed_and_comes_back_as_it_was(stream, offset, bodies, covered, times):
    bodies *= times
    plain = batch.pack(stream, offset, 1, covered, bodies)

    packed = batch.pack(stream, offset, 1, covered, bodies, deflate)

    assert len(packed) <= len(plain)
    assert batch.unpack(packed, inflate) == batch.unpack(plain) == batch.Batch(stream, offset, 1, covered, bodies)
    assert batch.unpack_head(packed) == batch.unpack_head(plain)
    if packed != plain:
        with pytest.raises(Rejected, match="is compressed, which this side does not take"):
            batch.unpack(packed)


RECORDS = [b'{"seq":%d}' % number for number in range(500)]


def spoilt(size, body=None):
    """A batch of RECORDS that says another size, or holds another body."""
    whole = batch.pack(b"s" * 16, 1, 1, [], RECORDS, deflate)
    return whole[:44] + size.to_bytes(4, "big") + (whole[48:] if body is None else body)


LENGTH = len(b"[]" + b"\n".join(RECORDS))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (spoilt(LENGTH + 1), "is not as long as it says"),
        (spoilt(LENGTH - 1), "is not as long as it says"),
        (spoilt(LENGTH, b"x" * 100), "can't be decompressed"),
        (spoilt(LENGTH, deflate(b"[]" + b" " * 50_000_000)), "is not as long as it says"),
        (spoilt(LENGTH)[:-1], "is not as long as it says"),
        (spoilt(LENGTH) + b"more", "is not as long as it says"),
    ],
    ids=["longer", "shorter", "no zlib", "a bomb", "cut", "more behind"],
)
def test_a_compressed_batch_that_is_not_what_it_says_is_refused_and_its_head_is_known(payload, reason):
    with pytest.raises(Rejected, match=reason):
        batch.unpack(payload, inflate)

    assert batch.unpack_head(payload) == (b"s" * 16, 1, 1, len(RECORDS))


def test_no_batch_says_that_it_is_larger_than_any_may_be():
    with pytest.raises(Rejected, match=r"batch\.size"):
        batch.unpack(spoilt(BROKER_PACKET_BYTES + 1), inflate)


def test_a_bomb_takes_no_memory():
    bomb = deflate(b" " * 50_000_000)
    tracemalloc.start()

    with pytest.raises(Rejected):
        inflate(bomb, BROKER_PACKET_BYTES)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * BROKER_PACKET_BYTES


@given(st.binary(min_size=16, max_size=16), records, st.data())
def test_a_cut_batch_is_rejected(stream, bodies, data):
    whole = batch.pack(stream, 1, 1, [], bodies)
    cut = data.draw(st.integers(0, len(whole) - len(bodies[-1]) - 1 - (len(bodies) == 1)))

    with pytest.raises(Rejected):
        batch.unpack(whole[:cut])


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
json_values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=4), scalars, max_size=3)
FIELDS = ("boot", "seq", "first", "ts", "up", "values", "type", "data", "id", "status")
fields = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6)
payloads = st.binary(max_size=100) | st.lists(fields, max_size=3).map(messages.dumps)


@given(st.sampled_from(topics.UP_STREAM), payloads)
def test_no_payload_crashes_the_parser(kind, payload):
    try:
        good, faults = messages.parse_records(kind, payload)
    except Rejected:
        return

    assert good or faults
    assert all(record["seq"] is None or record["seq"] >= 1 for record in good)


@pytest.mark.parametrize(
    "parse",
    [
        messages.parse_ack,
        messages.parse_command,
        messages.parse_desired,
        messages.parse_discovery,
        messages.parse_state,
        messages.parse_time,
        batch.unpack,
        batch.unpack_ack,
    ],
    ids=lambda parse: parse.__name__,
)
@given(payload=st.binary(max_size=120) | json_values.map(messages.dumps))
def test_no_bytes_crash_the_other_parsers(parse, payload):
    try:
        parse(payload)
    except Rejected as error:
        assert error.field
        assert error.reason


def test_deep_nesting_is_rejected():
    with pytest.raises(Rejected):
        messages.parse_records("telemetry", b"[" * 30_000 + b"]" * 30_000)


@given(json_values)
def test_what_is_encoded_is_strict_json(value):
    def refuse(name):
        raise AssertionError(name)

    json.loads(messages.dumps(value), parse_constant=refuse)


@given(st.lists(numbers, min_size=1, max_size=5))
def test_a_message_tells_first_on_its_first_record(seqs):
    bodies = [messages.dumps({"boot": 3, "seq": seq + 60, "values": {"t": 1}}) for seq in seqs]

    parsed, faults = messages.parse_records("telemetry", messages.frame(bodies, 60))

    assert faults == []
    assert [record["first"] for record in parsed] == [60, *[None] * (len(seqs) - 1)]


@given(st.sampled_from(["reboot", "write"]), st.integers(0, 2**40))
def test_commands_come_back_as_they_were(kind, expires):
    command = messages.parse_command(messages.command("c-1", kind, {"name": "relay"}, expires))

    assert command == {"id": "c-1", "type": kind, "parameters": {"name": "relay"}, "expires": expires}


def test_a_command_over_the_limit_is_refused_before_it_is_sent():
    with pytest.raises(Rejected, match="4096"):
        messages.command("c-1", "write", {"value": "x" * 4096}, 1)
