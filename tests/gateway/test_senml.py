"""Sensor measurement lists (RFC 8428) become readings of the contract, and nothing else gets through. (C5, T4)"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.adapters.senml import resolve, telemetry

NOW = 1_790_000_000_000

# RFC 8428, section 5.1, with the readings that they stand for.
EXAMPLES = [
    (
        '[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]',
        [{"values": {"10e2073a01080063": 23.1}}],
    ),
    (
        '[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]',
        [{"values": {"voltage": 120.1, "current": 1.2}}],
    ),
    (
        (
            '[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V",'
            '"v":120.1},{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3},{"n":"current","v":1.7}]'
        ),
        [
            {"ts": 1_276_020_071_001, "values": {"current": 1.2}},
            {"ts": 1_276_020_072_001, "values": {"current": 1.3}},
            {"ts": 1_276_020_076_001, "values": {"voltage": 120.1, "current": 1.7}},
        ],
    ),
    (
        (
            '[{"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,"bu":"%RH","v":20},{"u":"lon","v":24.30621,"n":":x"},'
            '{"t":60,"v":20.3}]'
        ),
        [
            {"ts": 1_320_067_464_000, "values": {"10e2073a01080063": 20, "x": 24.30621}},
            {"ts": 1_320_067_524_000, "values": {"10e2073a01080063": 20.3}},
        ],
    ),
    (
        '[{"n":"label","vs":"Machine Room"},{"n":"open","vb":false},{"n":"nfc-reader","vd":"aGkgCg"}]',
        [{"values": {"label": "Machine Room", "open": False, "nfc-reader": "aGkgCg"}}],
    ),
    (
        '[{"bn":"m/","bv":10,"bs":5,"n":"a","v":1,"s":2,"t":-30},{"n":"b","bs":0}]',
        [{"ts": NOW - 30_000, "values": {"m/a": 11, "m/a.sum": 7}}, {"values": {"m/b.sum": 0}}],
    ),
]


@pytest.mark.parametrize(("pack", "readings"), EXAMPLES)
def test_what_the_standard_shows_is_resolved(pack, readings):
    assert resolve(pack.encode(), NOW) == readings


@pytest.mark.parametrize(
    ("pack", "told"),
    [
        ('{"n":"t","v":1}', "payload: must be a JSON array of at least one record"),
        ("[]", "payload: must be a JSON array of at least one record"),
        ("[1]", "0.record: must be a JSON object"),
        ('[{"n":"t","v":1},{"n":"u"}]', "1.v: is missing: a record has a value (v, vs, vb, vd) or a sum (s)"),
        ('[{"v":1}]', "0.n: must be, behind its base,"),
        ('[{"n":"_t","v":1}]', "0.n: must be, behind its base,"),
        ('[{"n":"urn:dev:","v":1}]', "0.n: names a device, and no metric of it"),
        ('[{"n":"t","v":1},{"n":"t","v":2}]', "1.n: t is there twice for one time"),
        ('[{"n":"t","v":1,"vs":"x"}]', "0.vs: stands beside v: a record has one value"),
        ('[{"n":"t","v":"1"}]', "0.v: must be a number"),
        ('[{"n":"t","v":true}]', "0.v: must be a number"),
        ('[{"n":"t","vb":1}]', "0.vb: must be true or false"),
        ('[{"n":"t","vs":1}]', "0.vs: must be a text"),
        ('[{"n":"t","v":1,"bt":"now"}]', "0.bt: must be a number"),
        ('[{"n":"t","v":1,"t":1e300}]', "0.t: is no time"),
        ('[{"n":"t","v":1,"new_":1}]', "0.new_: has to be understood, and is not known here"),
        ('[{"n":"t","v":1,"bver":11}]', "0.bver: must be a whole number up to 10"),
        ('[{"n":"t","v":1,"bver":9},{"n":"u","v":1,"bver":10}]', "1.bver: must be the same in all records"),
        ('[{"n":"t","v":1', "payload: is not JSON"),
    ],
)
def test_a_fault_names_the_record_and_the_field(pack, told):
    with pytest.raises(Rejected) as refused:
        resolve(pack.encode(), NOW)

    assert str(refused.value).startswith(told)


def test_what_would_be_too_long_once_it_is_resolved_is_refused():
    name = "n" * 60
    pack = [{"bn": name, "bt": 1_700_000_000, "v": 0}, *({"t": number, "v": 0} for number in range(1, 3000))]

    with pytest.raises(Rejected, match="once it is resolved"):
        telemetry(json.dumps(pack).encode(), NOW)


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9./_-]{0,15}", fullmatch=True).filter(
    lambda name: not name.endswith(".sum")
)
values = (
    st.integers(-(2**53), 2**53)
    | st.floats(-1e9, 1e9)
    | st.booleans()
    | st.text(st.characters(codec="ascii", min_codepoint=1), min_size=1)
)
times = st.integers(1_577_836_800, 1_790_000_000)


@given(
    st.dictionaries(times, st.dictionaries(names, values, min_size=1, max_size=4), min_size=1, max_size=4),
    st.sampled_from(["", "urn:dev:mac:1:"]),
    st.integers(-(2**20), 2**20),
    st.booleans(),
)
def test_readings_come_back_whatever_bases_a_sender_chooses(readings, base, shift, is_based_on_time):
    start = next(iter(readings)) if is_based_on_time else 0
    pack = []
    for ts, told in readings.items():
        for name, value in told.items():
            field = "vb" if isinstance(value, bool) else "vs" if isinstance(value, str) else "v"
            shifted = value - shift if field == "v" and isinstance(value, int) else value
            bases = {"bv": shift if shifted is not value else 0} if field == "v" else {}
            pack.append({"n": name, "t": ts - start, field: shifted, **bases})
    pack[0] |= {"bn": base, "bt": start}

    expected = [{"ts": ts * 1000, "values": readings[ts]} for ts in sorted(readings)]
    assert resolve(json.dumps(pack).encode(), NOW) == expected


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=4), part, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["n", "v", "vs", "vb", "vd", "s", "t", "ut", "u", "bn", "bt", "bu", "bv", "bs", "bver"])
records = st.dictionaries(fields, json_like | names | values, max_size=5)


@given(
    st.binary() | (st.lists(records | json_like, max_size=5) | json_like).map(lambda told: json.dumps(told).encode())
)
def test_whatever_comes_is_refused_by_name_or_taken_by_the_contract(payload):
    try:
        told = telemetry(payload, NOW)
    except Rejected as error:
        assert error.field
        return
    try:
        taken, faults = messages.parse_records("telemetry", told)
    except Rejected as error:
        assert error.field
        return
    assert len(taken) + len(faults) == len(json.loads(told))
