"""What Home Assistant is told of our own devices, by its MQTT discovery: each metric is an entity, found by itself.

A configuration goes, retained, to `PREFIX/COMPONENT/DEVICE/METRIC/config`, a reading to
`fieldloom/DEVICE/values/METRIC`, and availability, retained, to `fieldloom/DEVICE/availability` and
`fieldloom/GATEWAY/availability`: an entity is there while both are.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from fieldloom_contract import messages
from fieldloom_contract.topics import STATE, TELEMETRY
from fieldloom_gateway.adapters.foreign.definition import HomeAssistant

NAME = re.compile(r"[A-Za-z0-9_.-]+")
ONLINE, OFFLINE = b"online", b"offline"
SENSOR, BINARY_SENSOR = "sensor", "binary_sensor"


class Announcement(NamedTuple):
    """A message for Home Assistant."""

    topic: str
    payload: bytes
    is_retained: bool = False


class Announcer:
    """Remembers what was announced over this connection; metrics with other letters than `NAME` has are left out."""

    def __init__(self, told: HomeAssistant, gateway: str) -> None:
        self._told = told
        self.presence = f"fieldloom/{gateway}/availability"
        self._announced: dict[str, str] = {}
        """The component of an entity by its topic."""
        self._online: set[str] = set()

    def forget(self) -> None:
        """Begin anew, over a new connection."""
        self._announced.clear()
        self._online.clear()

    def announcements(self, device: str, verb: str, payload: bytes) -> Iterator[Announcement]:
        """Yield what follows from a message of the contract's that was taken."""
        if verb == STATE:
            state = messages.parse_state(payload)
            is_asleep = (state.get("sleep") or {}).get("for") is not None
            yield from self._availability(device, is_there=state["online"] or is_asleep)
        elif verb == TELEMETRY:
            yield from self._availability(device, is_there=True)
            newest: dict[str, Any] = {}
            for record in messages.parse_records(verb, payload)[0]:
                newest.update(record["values"])
            for name, value in newest.items():
                if value is not None and NAME.fullmatch(name):
                    yield from self._reading(device, name, value)

    def _availability(self, device: str, *, is_there: bool) -> Iterator[Announcement]:
        if is_there and device in self._online:
            return
        (self._online.add if is_there else self._online.discard)(device)
        yield Announcement(f"fieldloom/{device}/availability", ONLINE if is_there else OFFLINE, is_retained=True)

    def _reading(self, device: str, name: str, value: Any) -> Iterator[Announcement]:
        component = BINARY_SENSOR if isinstance(value, bool) else SENSOR
        topic = f"fieldloom/{device}/values/{name}"
        if self._announced.get(topic) != component:
            self._announced[topic] = component
            config = f"{self._told.prefix}/{component}/{device}/{name.replace('.', '_dot_')}/config"
            yield Announcement(config, messages.dumps(self._entity(device, name, value)), is_retained=True)
        yield Announcement(topic, value.encode(errors="replace") if isinstance(value, str) else messages.dumps(value))

    def _entity(self, device: str, name: str, value: Any) -> dict[str, Any]:
        entity: dict[str, Any] = {
            "name": name,
            "unique_id": f"fieldloom_{device}_{name}",
            "state_topic": f"fieldloom/{device}/values/{name}",
            "availability": [{"topic": self.presence}, {"topic": f"fieldloom/{device}/availability"}],
            "availability_mode": "all",
            "device": {"identifiers": [f"fieldloom_{device}"], "name": device},
            "origin": {"name": "Fieldloom"},
        }
        if isinstance(value, bool):
            entity |= {"payload_on": "true", "payload_off": "false"}
        elif not isinstance(value, str):
            entity["state_class"] = "measurement"
            if name in self._told.units:
                entity["unit_of_measurement"] = self._told.units[name]
        return entity
