"""What mappings make of the messages of others, with payloads as Tasmota and Zigbee2MQTT send them. (C6, T1)"""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_contract.topics import EVENT, STATE, TELEMETRY, UP_STREAM
from fieldloom_gateway.adapters.foreign.announcing import Announcer
from fieldloom_gateway.adapters.foreign.definition import HomeAssistant, Mapping
from fieldloom_gateway.adapters.foreign.reading import Mappings
from fieldloom_gateway.adapters.foreign.writing import publication
from fixtures.commands import fieldloom

PLC = {
    "devices": {"PUMP 7": "pump-7"},
    "prefix": "plc-",
    "topics": [
        {
            "topic": "plant/{line}/{device}/data",
            "values": {"temperature": "env.0.temp", "{line}.running": "motor"},
            "booleans": {"yes": True, "no": False},
            "time": {"path": "at", "format": "%d.%m.%Y %H:%M:%S", "zone": "Europe/Berlin"},
        },
        {"topic": "plant/{line}/{device}/alarm", "event": "alarm.{line}", "values": {"text": ""}},
        {"topic": "plant/{line}/{device}/{metric}/raw", "values": {"{metric}": ""}},
    ],
    "commands": [{"topic": "plant/set/{device}/{name}", "payload": {"v": "{value}", "by": "fieldloom {name}"}}],
}
TASMOTA = {"preset": "tasmota", "prefix": "ws-"}
ZIGBEE = {"preset": "zigbee2mqtt", "prefix": "z-"}


def compiled(*told):
    return Mappings([Mapping.model_validate(one) for one in told])


def said(mapping, topic, payload, **options):
    """(device, verb, message) for each message that is made of one."""
    found = compiled(mapping).find(topic)
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return [(found.device, one.verb, json.loads(one.payload)) for one in found.read(payload, **options)]


def refusal(mapping, topic, payload):
    with pytest.raises(Rejected) as refused:
        said(mapping, topic, payload)
    return str(refused.value)


def test_parts_paths_booleans_and_times():
    told = {"env": [{"temp": 21.5}], "motor": "yes", "at": "26.11.2026 19:05:00"}

    assert said(PLC, "plant/north/PUMP 7/data", told) == [
        ("pump-7", TELEMETRY, {"ts": 1795716300000, "values": {"temperature": 21.5, "north.running": True}})
    ]
    assert said(PLC, "plant/north/Valve.2/alarm", b"stuck") == [
        ("plc-valve-2", EVENT, {"type": "alarm.north", "data": {"text": "stuck"}})
    ]
    assert said(PLC, "plant/north/v/speed/raw", b"12") == [("plc-v", TELEMETRY, {"values": {"speed": 12}})]
    assert compiled(PLC).find("plant/north/extra/v/data") is None


@pytest.mark.parametrize(
    ("time", "told", "ts"),
    [
        ({}, 1795716300, 1795716300000),
        ({}, 1795716300000, 1795716300000),
        ({}, "2026-11-26T18:05:00Z", 1795716300000),
        ({"zone": "Europe/Berlin"}, "2026-11-26T19:05:00", 1795716300000),
        ({"format": "unix"}, "1795716300.5", 1795716300500),
        ({"format": "unix_ms"}, 1795716300000, 1795716300000),
    ],
)
def test_forms_of_time(time, told, ts):
    topic = {"topic": "{device}", "values": {"v": "v"}, "time": {"path": "t", **time}}

    assert said({"prefix": "p-", "topics": [topic]}, "a", {"v": 1, "t": told})[0][2]["ts"] == ts
    for bad in (True, "yesterday", 10**400, [1]):
        assert "t: is no time as " in refusal({"prefix": "p-", "topics": [topic]}, "a", {"v": 1, "t": bad})


def test_tasmota():
    sensor = {"Time": "2026-11-26T19:05:00", "DS18B20": {"Id": "0115", "Temperature": 20.6}, "Switch1": "ON"}
    sensor["TempUnit"] = "C"
    values = {"DS18B20.Id": "0115", "DS18B20.Temperature": 20.6, "Switch1": True}
    assert said(TASMOTA, "tele/tasmota_9CF9D1/SENSOR", sensor) == [("ws-tasmota_9cf9d1", TELEMETRY, {"values": values})]
    zoned = {**TASMOTA, "zone": "Europe/Berlin"}
    assert said(zoned, "tele/plug/SENSOR", sensor) == [("ws-plug", TELEMETRY, {"ts": 1795716300000, "values": values})]
    state = {"Time": "2026-11-26T19:05:00", "Uptime": "0T00:10:11", "POWER": "OFF", "Wifi": {"AP": 1, "Signal": -78}}
    assert said(TASMOTA, "tele/plug/STATE", state)[0][2] == {"values": {"POWER": False, "Wifi.Signal": -78}}
    assert said(TASMOTA, "stat/plug/RESULT", {"POWER": "ON"})[0][2] == {"values": {"POWER": True}}
    assert said(TASMOTA, "stat/plug/RESULT", {"TelePeriod": 300}) == []
    assert said({**TASMOTA, "base": "shed"}, "shed/stat/plug/RESULT", {"POWER": "ON"})
    assert [said(TASMOTA, "tele/plug/LWT", word)[0][1:] for word in (b"Online", b"Offline")] == [
        (STATE, {"online": True, "boot": 1, "session": "mqtt"}),
        (STATE, {"online": False, "boot": 1, "session": "mqtt"}),
    ]
    assert refusal(TASMOTA, "tele/plug/LWT", b"Gone") == "state: must be one of Online, Offline"


def test_zigbee2mqtt():
    bulb = {"state": "ON", "brightness": 215, "color": {"x": 0.46, "y": 0.41}, "update": {"state": "idle"}}
    values = {"state": True, "brightness": 215, "color.x": 0.46, "color.y": 0.41}
    assert said(ZIGBEE, "zigbee2mqtt/bulb", bulb) == [("z-bulb", TELEMETRY, {"values": values})]
    assert said(ZIGBEE, "zigbee2mqtt/button", {"action": "single", "battery": 97}) == [
        ("z-button", TELEMETRY, {"values": {"battery": 97}}),
        ("z-button", EVENT, {"type": "action", "data": {"action": "single"}}),
    ]
    assert said(ZIGBEE, "zigbee2mqtt/button", {"action": ""}) == []
    seen = {"temperature": 27.34, "last_seen": "2026-11-26T19:05:00+01:00"}
    assert said(ZIGBEE, "zigbee2mqtt/meter", seen)[0][2]["ts"] == 1795716300000
    for word in (b"online", b'{"state": "online"}'):
        assert said(ZIGBEE, "zigbee2mqtt/bulb/availability", word)[0][2]["online"] is True
    folder = {**ZIGBEE, "base": "zigbee2mqtt/kitchen"}
    assert said(folder, "zigbee2mqtt/kitchen/floor light", {"state": "OFF"})[0][0] == "z-floor-light"
    assert compiled(ZIGBEE).find("zigbee2mqtt/bridge/state") is None
    assert compiled(ZIGBEE).find("zigbee2mqtt/bulb/set") is None


def test_of_a_retained_message_only_a_state_counts():
    assert said(TASMOTA, "tele/plug/LWT", b"Online", is_retained=True)[0][1] == STATE
    assert said(TASMOTA, "stat/plug/RESULT", {"POWER": "ON"}, is_retained=True) == []


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("plant/n/p/data", b'{"env": ', "payload: is not JSON"),
        ("plant/n/p/data", b'{"motor": "yes", "motor": "no"}', "payload: is not JSON: a key is repeated"),
        ("plant/n/p/data", b"{}", "payload: holds none of the values that are mapped"),
        ("plant/n/p/data", b'{"motor": {"on": 1}}', "values.n.running: must be a finite number"),
        ("plant/n/p/data", b'{"motor": 1, "at": "26.11."}', "at: is no time as %d.%m.%Y %H:%M:%S"),
        ("plant/n/p/alarm", b"\xff", "payload: is neither JSON nor a text"),
        ("plant/n/p/alarm", b"x" * 65_537, "payload: has 65537 bytes"),
        ("plant/n/Käse/alarm", b"x", "device: may hold only a-z 0-9 - _: give it a name in devices"),
        ("plant/n/" + "p" * 61 + "/alarm", b"x", "device: must have 1 to 64 characters"),
    ],
)
def test_what_does_not_map_is_refused_by_name(topic, payload, reason):
    assert refusal(PLC, topic, payload).startswith(reason)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(), parts, max_size=4),
)
shaped = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("at", "env", "motor", "action", "state", "last_seen", "Time", "POWER"), json_values)
)
payloads = st.binary(max_size=64) | st.builds(lambda value: json.dumps(value).encode(), json_values | shaped)
levels = (
    st.sampled_from(("plant", "n", "data", "alarm", "tele", "stat", "SENSOR", "STATE", "RESULT", "LWT")) | st.text()
)
topics = st.lists(levels, min_size=1, max_size=5).map("/".join) | st.builds("zigbee2mqtt/{}".format, st.text())
EVERY = compiled(PLC, {**TASMOTA, "zone": "Europe/Berlin"}, ZIGBEE)


@settings(max_examples=50, deadline=None)
@given(topics, payloads, st.booleans())
def test_whatever_comes_is_told_in_the_contracts_words_or_refused(topic, payload, is_retained):
    try:
        found = EVERY.find(topic)
        told = [] if found is None else found.read(payload, is_retained=is_retained)
    except Rejected as refused:
        assert refused.field
        assert refused.reason
        return
    for one in told:
        if one.verb in UP_STREAM:
            assert messages.parse_records(one.verb, one.payload)[1] == []
        else:
            messages.parse_state(one.payload)


@pytest.mark.parametrize(
    ("mapping", "theirs", "write", "topic", "payload"),
    [
        (TASMOTA, "tasmota_9CF9D1", ("POWER", True), "cmnd/tasmota_9CF9D1/POWER", "ON"),
        (TASMOTA, "plug", ("Dimmer", 40), "cmnd/plug/Dimmer", "40"),
        (TASMOTA, "plug", ("POWER", "TOGGLE"), "cmnd/plug/POWER", "TOGGLE"),
        (ZIGBEE, "bulb", ("state", False), "zigbee2mqtt/bulb/set", '{"state":"OFF"}'),
        (ZIGBEE, "bulb", ("led_enable", True), "zigbee2mqtt/bulb/set", '{"led_enable":true}'),
        (ZIGBEE, "bulb", ("color", {"x": 0.4}), "zigbee2mqtt/bulb/set", '{"color":{"x":0.4}}'),
        (PLC, "PUMP 7", ("speed", None), "plant/set/PUMP 7/speed", '{"v":null,"by":"fieldloom speed"}'),
    ],
)
def test_a_command_becomes_what_the_device_understands(mapping, theirs, write, topic, payload):
    commands = compiled({**mapping, "devices": {theirs: "dev-1"}}).named()["dev-1"][1]

    told = publication(commands, theirs, "write", dict(zip(("name", "value"), write, strict=True)))

    assert (told.topic, told.payload.decode()) == (topic, payload)


@pytest.mark.parametrize(
    ("kind", "parameters", "reason"),
    [
        ("reboot", {}, "type: reboot is not known"),
        ("write", {"value": 1}, "name: must be a text"),
        ("write", {"name": "a/b", "value": 1}, "name: must have 1 to 64 letters"),
        ("write", {"name": "#", "value": 1}, "name: must have 1 to 64 letters"),
        ("write", {"name": "POWER"}, "value: is missing"),
        ("write", {"name": "Dimmer", "value": 1}, "name: Dimmer is not mapped to a topic"),
    ],
)
def test_a_command_that_no_mapping_covers_is_refused_by_name(kind, parameters, reason):
    own = {"prefix": "p-", "topics": PLC["topics"], "commands": [{"names": ["POWER"], "topic": "{device}/set"}]}
    (_, _, commands) = compiled(own)._mappings[0]

    with pytest.raises(Rejected) as refused:
        publication(commands, "plug", kind, parameters)
    assert str(refused.value).startswith(reason)


TOPIC = {"topic": "a/{device}", "values": "all"}


@pytest.mark.parametrize(
    ("mapping", "where", "reason"),
    [
        ({"prefix": "p-"}, "", "needs a preset or topics"),
        ({"preset": "tasmota"}, "", "needs devices, a prefix, or both"),
        ({"preset": "tasmota", "prefix": "P"}, "", "may hold only a-z"),
        ({"preset": "shelly", "prefix": "p-"}, "preset", "Input should be 'tasmota', 'zigbee2mqtt' or 'sparkplug'"),
        ({"preset": "tasmota", "devices": {"a": "A"}}, "devices.a", "may hold only a-z"),
        ({"preset": "tasmota", "devices": {"a": "x", "b": "x"}}, "", "two devices have one name"),
        ({"preset": "tasmota", "prefix": "p-", "zone": "Mars/North"}, "zone", "'Mars/North' is no time zone"),
        ({"topics": [TOPIC], "prefix": "p-", "zone": "UTC"}, "", "base and zone are a preset's"),
        ({"topics": [{**TOPIC, "topic": "a/+"}], "prefix": "p-"}, "topics.0.topic", "names what differs, as {device}"),
        ({"topics": [{**TOPIC, "topic": "a/{Device}"}], "prefix": "p-"}, "topics.0.topic", "a part is written as"),
        ({"topics": [{**TOPIC, "topic": "{a}/{a}"}], "prefix": "p-"}, "topics.0.topic", "names a part twice"),
        ({"topics": [{**TOPIC, "topic": "a/{name}"}], "prefix": "p-"}, "topics.0", "the topic names no {device}"),
        ({"topics": [{"topic": "{device}"}], "prefix": "p-"}, "topics.0", "needs values or state, one of them"),
        ({"topics": [{**TOPIC, "event": "{line}"}], "prefix": "p-"}, "topics.0", "the topic has no {line}"),
        ({"topics": [{**TOPIC, "values": {}}], "prefix": "p-"}, "topics.0.values", "at least 1 item"),
        ({"topics": [{**TOPIC, "booleans": {True: True}}], "prefix": "p-"}, "topics.0.booleans", "in quotes"),
        (
            {"topics": [{**TOPIC, "time": {"path": "t", "format": "now"}}], "prefix": "p-"},
            "topics.0.time.format",
            "auto",
        ),
        ({"topics": [TOPIC], "prefix": "p-", "commands": [{"topic": "set/{name}"}]}, "commands.0", "names no {device}"),
        ({"topics": [TOPIC], "prefix": "p-", "commands": [{"topic": "{device}/#"}]}, "commands.0", "one topic"),
        (
            {"topics": [TOPIC], "prefix": "p-", "commands": [{"topic": "{device}", "payload": {"a": "{b}"}}]},
            "commands.0",
            "{b} is no part of it",
        ),
    ],
)
def test_a_fault_of_a_mapping_is_named_by_its_path(mapping, where, reason):
    with pytest.raises(ValidationError) as refused:
        Mapping.model_validate(mapping)

    faults = {".".join(str(part) for part in fault["loc"]): fault["msg"] for fault in refused.value.errors()}
    assert any(path.startswith(where) and reason in told for path, told in faults.items()), faults


announced = st.dictionaries(
    st.text(min_size=1, max_size=8) | st.sampled_from(("t", "a.b", "availability")),
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=8),
    min_size=1,
)


@settings(max_examples=50, deadline=None)
@given(announced)
def test_what_home_assistant_is_told_are_topics_without_wildcards_and_no_reading_without_its_entity(values):
    announcer = Announcer(HomeAssistant(), "gw.test")
    try:
        payload = messages.dumps({"values": values})
        messages.parse_records(TELEMETRY, payload)
    except Rejected:
        return

    told = [one.topic for one in announcer.announcements("dev-1", TELEMETRY, payload)]

    assert not any(letter in topic for topic in told for letter in "+#")
    readings = [topic for topic in told if topic.startswith("fieldloom/dev-1/values/")]
    assert len(readings) == len([topic for topic in told if topic.endswith("/config")])
    again = [one.topic for one in announcer.announcements("dev-1", TELEMETRY, payload)]
    assert sorted(again) == sorted(readings)


def test_the_documents_examples_hold():
    text = (Path(__file__).parents[2] / "docs" / "foreign-mqtt.md").read_text()
    whole, own, shown = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))

    mappings = compiled(*whole["adapters"][0]["mappings"], *own["mappings"])

    assert mappings.find("plant/north/PUMP 7/status").read(b"lost")[0].verb == STATE
    assert mappings.find("zigbee2mqtt/bulb").device == "lamp-1"
    assert HomeAssistant.model_validate(shown["home_assistant"]).units["temperature"] == "°C"


FILE = """
adapters:
  - protocol: mqtt
    host: 127.0.0.1
    port: 1883
    client_id: gw
    mappings: [{preset: tasmota, prefix: ws-}]
"""


def test_the_command_line_shows_what_a_mapping_makes_of_a_message(tmp_path, capsys):
    file = tmp_path / "adapters.yaml"
    file.write_text(FILE)

    fieldloom("gateway", "map", file, "--topic", "tele/plug/STATE", "--payload", '{"POWER": "ON"}')
    assert capsys.readouterr().out.split() == ["mqtt", "ws-plug", "telemetry", '{"values":{"POWER":true}}']

    for topic, payload, told in (
        ("tele/plug/LWT", "Gone", "refused, to the dead letters: state: must be one of Online, Offline"),
        ("tele/plug", "1", "no mapping names tele/plug"),
    ):
        with pytest.raises(AssertionError):
            fieldloom("gateway", "map", file, "--topic", topic, "--payload", payload)
        assert told in capsys.readouterr().err
