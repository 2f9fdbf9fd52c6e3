"""Ready mappings, written as a user would write them.

Tasmota: telemetry on `tele/NAME/SENSOR` and `tele/NAME/STATE`, what has changed on `stat/NAME/RESULT`, availability as
`Online` and `Offline`, retained, on `tele/NAME/LWT`, commands on `cmnd/NAME/COMMAND`; its `Time` is local and names no
zone. Zigbee2MQTT: all of a device as JSON on `zigbee2mqtt/NAME`, availability, retained, on `.../availability`, as JSON
or, before 2.0, a word; commands as JSON on `.../set`. Sparkplug B is no mapping of topics: see `sparkplug/`.
"""

from typing import Any

from fieldloom_gateway.adapters.foreign.definition import SPARKPLUG, Command, Mapping, Topic

ON_OFF = {"ON": True, "OFF": False}
RELAYS = ["POWER", *(f"POWER{number}" for number in range(1, 9))]
LIGHT = ["Dimmer", "CT", "HSBColor"]
HEALTH = ["Heap", "LoadAvg", "UptimeSec", "Vcc", "Wifi.RSSI", "Wifi.Signal"]
SWITCHES = ["state", *(f"state_{which}" for which in ("l1", "l2", "l3", "l4", "left", "right", "center"))]
BASES = {"tasmota": "", "zigbee2mqtt": "zigbee2mqtt/"}


def expanded(told: Mapping) -> tuple[list[Topic], list[Command]]:
    """Return the topics and commands of a mapping, its own before those of its preset."""
    if told.preset in (None, SPARKPLUG):
        return told.topics, told.commands
    base = BASES[told.preset] if told.base is None else f"{told.base.rstrip('/')}/"
    topics, commands = (_tasmota if told.preset == "tasmota" else _zigbee2mqtt)(base, told)
    return (
        told.topics + [Topic.model_validate(topic) for topic in topics],
        told.commands + [Command.model_validate(command) for command in commands],
    )


def _tasmota(base: str, told: Mapping) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    time = None if told.zone is None else {"path": "Time", "zone": told.zone}
    sensor: dict[str, Any] = {
        "values": "all",
        "skip": ["Time", "TempUnit", "PressureUnit"],
        "booleans": ON_OFF,
        "time": time,
    }
    state: dict[str, Any] = {
        "values": {name: name for name in RELAYS + LIGHT + HEALTH},
        "booleans": ON_OFF,
        "time": time,
    }
    result: dict[str, Any] = {"values": {name: name for name in RELAYS + LIGHT}, "booleans": ON_OFF}
    topics: list[dict[str, Any]] = [
        {"topic": f"{base}tele/{{device}}/SENSOR", **sensor},
        {"topic": f"{base}tele/{{device}}/STATE", **state, "required": False},
        {"topic": f"{base}stat/{{device}}/RESULT", **result, "required": False},
        {"topic": f"{base}tele/{{device}}/LWT", "state": {"online": ["Online"], "offline": ["Offline"]}},
    ]
    return topics, [{"topic": f"{base}cmnd/{{device}}/{{name}}", "booleans": ON_OFF}]


def _zigbee2mqtt(base: str, told: Mapping) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    device = f"{base}{{device}}"
    time = {"path": "last_seen", "zone": told.zone}
    words = {"online": ["online"], "offline": ["offline"]}
    skip = ["action", "last_seen", "device", "elapsed", "update", "update_available"]
    topics: list[dict[str, Any]] = [
        {"topic": device, "values": "all", "skip": skip, "booleans": ON_OFF, "time": time, "required": False},
        {"topic": device, "event": "action", "values": {"action": "action"}, "time": time, "required": False},
        {"topic": f"{device}/availability", "state": {"path": "state", **words}},
    ]
    commands: list[dict[str, Any]] = [
        {"topic": f"{device}/set", "payload": {"{name}": "{value}"}, "names": SWITCHES, "booleans": ON_OFF},
        {"topic": f"{device}/set", "payload": {"{name}": "{value}"}},
    ]
    return topics, commands
