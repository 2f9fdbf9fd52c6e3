"""Sparkplug B at a broker that is not ours: what nodes and devices say, and what they are told. (C6, C8, A3, T1)"""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_contract.topics import TELEMETRY, parse_device
from fieldloom_gateway.adapters.base import Fault
from fieldloom_gateway.adapters.foreign.definition import Mapping
from fieldloom_gateway.adapters.foreign.sparkplug.nodes import REBIRTH, REBIRTH_EVERY_MS, Nodes
from fieldloom_gateway.adapters.foreign.sparkplug.payload import (
    DataType,
    Metric,
    NoReading,
    Payload,
    decode,
    encode,
    metric_of,
    reading,
)
from fixtures.commands import fieldloom

NOW = 1_790_000_000_000
PLANT = {"preset": "sparkplug", "base": "spBv1.0/Plant", "prefix": "sp-"}


def nodes(*told):
    return Nodes([Mapping.model_validate(one) for one in told or [PLANT]])


def metric(name=None, value=None, datatype=DataType.DOUBLE, **fields):
    return metric_of(value, datatype)._replace(name=name, **fields)


def bd_seq(number):
    return metric("bdSeq", number, DataType.INT64)


class Peer:
    """A node's messages, numbered as it must."""

    def __init__(self, known, path="spBv1.0/Plant"):
        self.known = known
        self.path = path
        self.seq = 0
        self.now = NOW

    def say(self, kind, where, *metrics, seq=None, **options):
        if kind == "NBIRTH":
            self.seq = 0
        number = None if kind == "NDEATH" else self.seq if seq is None else seq
        self.seq = (self.seq + 1) % 256 if number is not None else self.seq
        payload = encode(Payload(NOW, number, list(metrics)))
        return self.known.hear(f"{self.path}/{kind}/{where}", payload, self.now, **options)


def told(heard):
    """(device, verb, message) of what was said, and the faults."""
    said = [(*parse_device(one.topic), json.loads(one.payload)) for one in heard.messages if one.fault is None]
    return said, [one.fault for one in heard.messages if one.fault is not None]


def test_a_birth_tells_of_a_device_and_its_aliases_are_read_from_then_on():
    peer = Peer(nodes())

    born = peer.say("NBIRTH", "Line 1", bd_seq(3), metric(REBIRTH, False, DataType.BOOLEAN), metric("load", 0.5))
    state = {"online": True, "boot": 1, "session": "mqtt"}
    assert told(born)[0] == [
        ("sp-line-1", "discovery", {"request_id": "birth", "device": {"capabilities": ["load"]}}),
        ("sp-line-1", "state", state),
        ("sp-line-1", "telemetry", {"ts": NOW, "values": {"load": 0.5}}),
    ]
    assert born.rebirth is None
    peer.say("DBIRTH", "Line 1/Press", metric("Force/kN", 12, DataType.INT16, alias=7, ts=NOW - 5))

    said = peer.say("DDATA", "Line 1/Press", Metric(alias=7, field="int_value", raw=0xFFFFFFFE, ts=NOW + 1))

    assert told(said) == ([("sp-line-1-press", "telemetry", {"ts": NOW + 1, "values": {"Force/kN": -2}})], [])
    assert (said.is_gap, said.rebirth) == (False, None)


def test_an_alias_that_nobody_told_asks_for_a_rebirth_once_in_a_while():
    peer = Peer(nodes())

    first = peer.say("DDATA", "n/d", Metric(alias=7, field="double_value", raw=1.0), metric("named", 2.0))

    said, faults = told(first)
    assert said == [("sp-n-d", "telemetry", {"ts": NOW, "values": {"named": 2.0}})]
    assert faults == [Fault("metrics.0.alias", "7 is told by no birth: one is asked for (spBv1.0/Plant/DDATA/n/d)")]
    topic, payload = first.rebirth
    asked = decode(payload).metrics[0]
    assert (topic, asked.name, asked.datatype, asked.raw) == ("spBv1.0/Plant/NCMD/n", REBIRTH, 11, True)
    assert peer.say("DDATA", "n/d", Metric(alias=7, field="double_value", raw=1.0)).rebirth is None
    peer.now += REBIRTH_EVERY_MS
    assert peer.say("DDATA", "n/d", Metric(alias=7, field="double_value", raw=1.0)).rebirth is not None


def test_after_a_lost_connection_no_alias_is_believed():
    peer = Peer(nodes())
    peer.say("NBIRTH", "n", bd_seq(0), metric("a", 1.0, alias=1))
    assert not peer.known.is_unborn("sp-n")
    peer.known.forget()

    assert peer.known.is_unborn("sp-n"), "a command waits for the next birth"
    said = peer.say("NDATA", "n", Metric(alias=1, field="double_value", raw=2.0))

    assert told(said)[1]
    assert said.rebirth is not None
    assert not said.is_gap


def test_missing_messages_are_noticed_and_a_repeat_is_none():
    peer = Peer(nodes())
    peer.say("NBIRTH", "n", bd_seq(0), metric("a", 1.0, alias=1))
    for _ in range(255):
        assert not peer.say("NDATA", "n", metric("a", 1.0)).is_gap
    assert not peer.say("NDATA", "n", metric("a", 1.0)).is_gap  # 255 is followed by 0
    assert not peer.say("NDATA", "n", metric("a", 1.0), seq=1, is_repeat=True).is_gap

    missed = peer.say("NDATA", "n", Metric(alias=1, field="double_value", raw=3.0), seq=9)

    assert missed.is_gap
    assert missed.rebirth is not None
    assert told(missed)[0] == [("sp-n", "telemetry", {"ts": NOW, "values": {"a": 3.0}})]


def test_a_node_takes_its_devices_along_but_not_by_the_death_of_an_earlier_life():
    peer = Peer(nodes())
    peer.say("NBIRTH", "n", bd_seq(4))
    peer.say("DBIRTH", "n/a", metric("x", 1.0))
    peer.say("DBIRTH", "n/b", metric("x", 1.0))

    gone = [(name, message["online"]) for name, _, message in told(peer.say("DDEATH", "n/a"))[0]]
    assert gone == [("sp-n-a", False)]
    assert told(peer.say("NDEATH", "n", bd_seq(3))) == ([], [])
    assert peer.known.is_born("sp-n-b")
    gone = [(name, message["online"]) for name, _, message in told(peer.say("NDEATH", "n", bd_seq(4)))[0]]
    assert gone == [("sp-n", False), ("sp-n-b", False)]
    assert not peer.known.is_born("sp-n-b")


def test_what_is_listed_alone_is_taken_and_known_as_gone_even_without_a_birth():
    known = nodes({"preset": "sparkplug", "devices": {"Plant/n/press": "press-1"}})
    peer = Peer(known)
    assert known.filters[0] == "spBv1.0/+/NBIRTH/+"
    assert nodes().filters[3] == "spBv1.0/Plant/DBIRTH/+/+"

    stranger = peer.say("NDATA", "stranger", metric("a", 1.0))
    assert (stranger.device, stranger.rebirth, stranger.messages) == (None, None, [])
    assert told(peer.say("NBIRTH", "n", bd_seq(0), metric("a", 1.0))) == ([], [])
    assert peer.say("DBIRTH", "n/other", metric("a", 1.0)).device is None
    assert [name for name, _, _ in told(peer.say("DBIRTH", "n/press", metric("a", 1.0)))[0]] == ["press-1"] * 3
    fresh = Peer(nodes({"preset": "sparkplug", "devices": {"Plant/n/press": "press-1"}}))
    assert [name for name, _, _ in told(fresh.say("NDEATH", "n", bd_seq(0)))[0]] == ["press-1"]
    assert known.hear("spBv1.0/STATE/host", b"ONLINE", NOW) is None
    assert known.hear("tele/plug/SENSOR", b"", NOW) is None


def test_what_is_no_reading_is_counted_and_what_is_wrong_is_named():
    peer = Peer(nodes())
    table = Metric("table", datatype=16, field="dataset_value", raw=b"\x08\x01")
    odd = [
        Metric("raw", datatype=17, field="bytes_value", raw=b"a"),
        Metric("list", datatype=22, field="bytes_value", raw=b"a"),
        Metric("mixed", datatype=DataType.BOOLEAN, field="int_value", raw=1),
        Metric("small", datatype=DataType.UINT8, field="int_value", raw=256),
        Metric("x" * 65, datatype=DataType.BOOLEAN, field="boolean_value", raw=True),
        Metric("nul", datatype=DataType.STRING, field="string_value", raw="a\0"),
        metric("large", 2**64 - 1, DataType.UINT64),
        Metric(datatype=DataType.BOOLEAN, field="boolean_value", raw=True),
        Metric("empty", datatype=DataType.FLOAT),
        metric("one", 1.0, alias=1),
        metric("two", 1.0, alias=1),
        metric("nothing", None),
        metric("infinite", float("inf")),
    ]

    heard = peer.say("NBIRTH", "n", bd_seq(0), table, *odd)

    said, faults = told(heard)
    assert heard.left_out == 3
    values = {"one": 1.0, "two": 1.0, "nothing": None, "infinite": None}
    assert said[-1][2]["values"] == values
    assert len(faults) == 1
    assert faults[0].path == "metrics.12.alias"  # the birth's own comes first
    assert " (and 7 more of this message) " in faults[0].reason


def test_a_device_whose_name_can_not_be_ours_leaves_no_gap():
    peer = Peer(nodes())
    peer.say("NBIRTH", "n", bd_seq(0))

    faults = told(peer.say("DDATA", "n/Pr\u00fcfstand", metric("a", 1.0)))[1]

    assert "give it a name in devices" in faults[0].reason
    assert not peer.say("NDATA", "n", metric("a", 1.0)).is_gap


def test_history_keeps_its_times_and_what_is_too_much_for_a_message_goes_in_several():
    peer = Peer(nodes())
    peer.say("NBIRTH", "n", bd_seq(0))
    history = [metric("a", float(number), ts=NOW - number) for number in range(3000)]
    wide = [metric(f"m{number}", "x" * 200, DataType.STRING) for number in range(600)]

    said, faults = told(peer.say("NDATA", "n", *history, *wide))

    records = [one for _, _, message in said for one in (message if isinstance(message, list) else [message])]
    assert faults == []
    assert {one["ts"]: one["values"]["a"] for one in records if "a" in one["values"]} == {
        NOW - number: float(number) for number in range(3000)
    }
    assert sum(len(one["values"]) for one in records) == 3600
    for _, _, message in said:
        assert messages.parse_records(TELEMETRY, messages.dumps(message))[1] == []


@pytest.mark.parametrize(
    ("value", "datatype", "sent"),
    [
        (-5, DataType.INT8, ("int_value", 0xFFFFFFFB)),
        (-5, DataType.INT64, ("long_value", 2**64 - 5)),
        (7, DataType.UINT32, ("long_value", 7)),
        (1.5, DataType.FLOAT, ("float_value", 1.5)),
        (True, DataType.BOOLEAN, ("boolean_value", True)),
        ("on", DataType.STRING, ("string_value", "on")),
    ],
)
def test_a_command_has_the_type_of_the_birth(value, datatype, sent):
    peer = Peer(nodes())
    peer.say("NBIRTH", "n", bd_seq(0))
    peer.say("DBIRTH", "n/d", metric("set", None, datatype, alias=3), Metric("grid", datatype=16))

    topic, payload = peer.known.publication("sp-n-d", "write", {"name": "set", "value": value}, NOW)

    one = decode(payload).metrics[0]
    assert (topic, one.name, one.alias, one.datatype) == ("spBv1.0/Plant/DCMD/n/d", "set", 3, datatype)
    assert (one.field, one.raw) == sent
    for wrong, field in (
        ({"name": "other", "value": 1}, "name"),
        ({"name": "grid", "value": 1}, "value"),
        ({"name": "set", "value": [1]}, "value"),
        ({"name": "set"}, "value"),
    ):
        with pytest.raises(Rejected) as refused:
            peer.known.publication("sp-n-d", "write", wrong, NOW)
        assert refused.value.field == field


integers = st.sampled_from([*range(1, 9), 13]).flatmap(
    lambda kind: st.tuples(
        st.just(DataType(kind)),
        st.integers(*((-(1 << (8 << kind - 1) - 1), (1 << (8 << kind - 1) - 1) - 1) if kind <= 4 else (0, 255))),
    )
)
values = st.one_of(
    integers,
    st.tuples(st.just(DataType.DOUBLE), st.floats(allow_nan=False)),
    st.tuples(st.just(DataType.FLOAT), st.floats(width=32, allow_nan=False)),
    st.tuples(st.just(DataType.BOOLEAN), st.booleans()),
    st.tuples(st.sampled_from([DataType.STRING, DataType.TEXT, DataType.UUID]), st.text(st.characters(codec="utf-8"))),
)


@given(values, st.integers(0, 2**64 - 1), st.none() | st.integers(0, 255))
def test_what_is_encoded_is_read_again(typed, ts, seq):
    datatype, value = typed
    sent = metric_of(value, datatype)._replace(name="m", alias=ts, ts=ts)

    got = decode(encode(Payload(ts, seq, [sent])))

    assert (got.ts, got.seq, got.metrics[0][:4]) == (ts, seq, ("m", ts, ts, datatype))
    read = reading(got.metrics[0], datatype)
    if datatype is DataType.FLOAT:  # fewer digits, the same 32 bits
        assert struct.pack("<f", read) == struct.pack("<f", value)
    else:
        assert read == value


@given(st.floats(-1e6, 1e6))
def test_a_number_of_32_bits_has_no_more_digits_than_it_was_written_with(value):
    short = float(f"{value:.6g}")

    assert reading(metric("m", short, DataType.FLOAT), DataType.FLOAT) == pytest.approx(short, rel=1e-7)
    assert reading(decode(encode(Payload(0, 0, [metric("m", 21.1, DataType.FLOAT)]))).metrics[0], 9) == 21.1


metrics = st.builds(
    Metric,
    st.none() | st.text(st.characters(codec="utf-8"), max_size=70),
    st.none() | st.integers(0, 3),
    st.none() | st.integers(0, 2**64 - 1),
    st.none() | st.integers(0, 40),
    st.just("long_value"),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
KINDS = ("NBIRTH/n", "NDATA/n", "NDEATH/n", "DBIRTH/n/d", "DDATA/n/d", "DDEATH/n/d")


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 255), st.lists(metrics, max_size=4)), max_size=6))
def test_whatever_a_node_sends_comes_as_messages_of_the_contract_or_as_a_letter(sent):
    known = nodes()
    for kind, seq, told_metrics in sent:
        heard = known.hear(f"spBv1.0/Plant/{kind}", encode(Payload(NOW, seq, told_metrics)), NOW)
        for one in heard.messages:
            name, verb = parse_device(one.topic)
            assert name.startswith("sp-n")
            if one.fault is not None:
                continue
            if verb == TELEMETRY:
                assert messages.parse_records(verb, one.payload)[1] == []
            elif verb == "state":
                messages.parse_state(one.payload)
            else:
                messages.parse_discovery(one.payload)


def test_an_unknown_type_is_no_reading_and_bytes_that_are_no_payload_are_refused():
    with pytest.raises(NoReading, match="type 29"):
        reading(Metric("m"), 29)
    for bad, reason in (
        (b"\xff", "is no payload of Sparkplug B"),
        (b"\x12\x03\x0a\x01\xff", "is no payload of Sparkplug B"),
        (b"\x22\x12SPBV1.0_COMPRESSED", "is compressed, which is not taken"),
        (b"\x12\x00" * 20_001, "are 20001, 20000 are taken"),
        (b"a" * (1024 * 1024 + 1), "has 1048577 bytes, 1048576 are taken"),
    ):
        heard = nodes().hear("spBv1.0/Plant/NDATA/n", bad, NOW)
        assert [one.fault.reason for one in heard.messages] == [f"{reason} (spBv1.0/Plant/NDATA/n)"]


@pytest.mark.parametrize("more", [{"base": "spBv1.0/a/b"}, {"zone": "Europe/Berlin"}, {"base": "sp/{device}"}])
def test_a_mapping_that_sparkplug_has_no_place_for_is_refused(more):
    with pytest.raises(ValidationError):
        Mapping.model_validate({**PLANT, **more})


def test_the_command_line_shows_a_payload_of_a_file(tmp_path, capsys):
    file, payload = tmp_path / "adapters.yaml", tmp_path / "birth.bin"
    entry = {"protocol": "mqtt", "host": "127.0.0.1", "port": 1, "client_id": "gw", "mappings": [PLANT]}
    file.write_text(json.dumps({"adapters": [entry]}))
    payload.write_bytes(encode(Payload(NOW, 0, [metric("load", 0.5)])))

    fieldloom("gateway", "map", file, "--topic", "spBv1.0/Plant/NBIRTH/n", "--payload-file", payload)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split()[:3] == ["mqtt", "sp-n", "telemetry"]

    payload.write_bytes(encode(Payload(NOW, 0, [Metric(alias=3, field="double_value", raw=1.0)])))
    with pytest.raises(AssertionError):
        fieldloom("gateway", "map", file, "--topic", "spBv1.0/Plant/NDATA/n", "--payload-file", payload)
    assert "refused, to the dead letters: metrics.0.alias: 3 is told by no birth" in capsys.readouterr().err
