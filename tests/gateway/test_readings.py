"""The quick way to read telemetry gives what the contract's parser gives, or leaves it to that. (T1)"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.ingest import readings

NUMBERS = st.integers(-1, 2**31) | st.sampled_from([0, 1, 2**31 - 1, 2**53 - 1, 2**53, 2**64, True, 1.0, "1", None])
VALUES = st.dictionaries(
    st.text(max_size=3) | st.just("x" * 65),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([1]),
    max_size=3,
)
RECORD = st.fixed_dictionaries(
    {},
    optional={
        "boot": NUMBERS,
        "seq": NUMBERS,
        "first": NUMBERS,
        "ts": NUMBERS,
        "up": NUMBERS,
        "values": VALUES,
        "traceparent": st.text(max_size=2),
        "other": st.just(1),
    },
)
GOOD = st.fixed_dictionaries(
    {"boot": st.integers(1, 9), "seq": st.integers(1, 9), "ts": st.integers(0, 9), "values": VALUES},
    optional={"first": st.integers(1, 9)},
)


@given(GOOD | RECORD | st.lists(GOOD | RECORD, max_size=4))
def test_what_it_reads_the_contract_reads_the_same(message):
    payload = json.dumps(message, separators=(",", ":")).encode()

    plain = readings.decode(payload)

    if plain is not None:
        records, faults = messages.parse_records("telemetry", payload)
        assert not faults
        names = ("boot", "seq", "ts", "first", "values")
        assert [{name: getattr(reading, name) for name in names} for reading in plain] == [
            {name: record[name] for name in names} for record in records
        ]


@given(st.binary(max_size=40))
def test_any_bytes_are_read_as_the_contract_does_or_left_to_it(payload):
    if readings.decode(payload) is not None:
        try:
            messages.parse_records("telemetry", payload)
        except Rejected as error:
            pytest.fail(f"the contract refuses this: {error}")


@pytest.mark.parametrize(
    "payload",
    [
        b'{"boot":1,"seq":1,"ts":5,"values":{"a":1,"a":2}}',
        b'{"boot":1,"boot":1,"seq":1,"ts":5,"values":{"a":1}}',
        b'{"boot":1,"seq":1,"ts":5,"values":{"a":NaN}}',
        b'{"boot":1,"seq":1,"up":5,"values":{"a":1}}',
        b'{"values":{"a":1}}',
        b'{"boot":1,"seq":1,"first":2,"ts":5,"values":{"a":1}}',
        b"[]",
        b"",
        b" " * 70_000,
    ],
)
def test_what_needs_a_second_look_is_left_to_the_contract(payload):
    assert readings.decode(payload) is None


def test_a_board_s_own_messages_take_the_quick_way():
    payload = messages.frame([b'{"boot":7,"seq":%d,"ts":5,"values":{"t":21.5,"on":true}}' % seq for seq in (3, 4)], 2)

    assert [(reading.seq, reading.first) for reading in readings.decode(payload)] == [(3, 2), (4, None)]
