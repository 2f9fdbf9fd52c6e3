"""The nodes of Sparkplug B at a foreign broker, and their devices: who is born, and what they say. (C6, C8, T1)

Topics are `spBv1.0/GROUP/KIND/NODE` and `spBv1.0/GROUP/KIND/NODE/DEVICE`. A node numbers all its messages, those of its
devices among them, from its birth on, modulo 256. (Sparkplug specification 3.0, 4 and 6)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NAME
from fieldloom_contract.plain import is_text
from fieldloom_contract.topics import DISCOVERY, STATE, TELEMETRY, device
from fieldloom_gateway.adapters.base import Fault, Message
from fieldloom_gateway.adapters.foreign import definition
from fieldloom_gateway.adapters.foreign.naming import ours_of
from fieldloom_gateway.adapters.foreign.reading import BOOT, SESSION
from fieldloom_gateway.adapters.foreign.sparkplug.births import BD_SEQ, CONTROLS, Birth, Said, read, telemetry
from fieldloom_gateway.adapters.foreign.sparkplug.payload import DataType, Metric, Payload, decode, encode, metric_of
from fieldloom_gateway.adapters.foreign.writing import Publication, written
from fieldloom_runtime.records import MAX_CAPABILITIES

log = structlog.get_logger()

NAMESPACE = "spBv1.0"
NUMBERS = 256
REBIRTH_EVERY_MS = 30_000
NODES_KNOWN = 10_000
LEFT_OUT_TOLD = 10_000
NODE_KINDS = ("NBIRTH", "NDATA", "NDEATH")
KINDS = (*NODE_KINDS, "DBIRTH", "DDATA", "DDEATH")
BIRTHS = ("NBIRTH", "DBIRTH")
REBIRTH = "Node Control/Rebirth"


class Place(NamedTuple):
    """Whom a topic is of."""

    mapping: definition.Mapping
    group: str
    """The topic up to the kind."""
    kind: str
    node: str
    device: str | None
    name: str
    """As `devices` of a mapping names it."""


@dataclass
class Node:
    """What is known of a node."""

    seq: int | None = None
    """Of its last message."""
    bd_seq: int | None = None
    """By which its birth and its death belong together."""
    is_born: bool = False
    births: dict[str | None, Birth] = field(default_factory=dict)
    """By device; None is the node itself."""
    online: set[str] = field(default_factory=set)
    """Devices of ours that it has told of as being there."""
    asked_at: int | None = None
    """When a rebirth was asked for."""

    def is_gap_before(self, seq: int | None) -> bool:
        """Whether a message is not the next one, as far as that is known."""
        return self.seq is not None and seq is not None and seq != (self.seq + 1) % NUMBERS


class Born(NamedTuple):
    """A device of ours, as it can be written to."""

    place: Place
    birth: Birth


@dataclass
class Heard:
    """What has come of a message."""

    topic: str
    payload: bytes
    name: str
    """Of the device, as it calls itself."""
    device: str | None = None
    """Of ours; None if nobody has named it."""
    messages: list[Message] = field(default_factory=list)
    left_out: int = 0
    """Metrics that hold what no reading can."""
    is_gap: bool = False
    """Whether messages of the node are missing before it."""
    rebirth: Publication | None = None
    """What is to be sent to the node."""

    def refuse(self, faults: Sequence[Fault]) -> None:
        """Have the message lie with the dead letters, for the first of what is wrong with it."""
        address = self.topic if self.device is None else device(self.device, TELEMETRY)
        also = f" (and {len(faults) - 1} more of this message)" if len(faults) > 1 else ""
        fault = Fault(faults[0].path, f"{faults[0].reason}{also} ({self.topic})")
        self.messages.append(Message(address, self.payload, fault=fault))


class Nodes:
    """The nodes of an adapter's mappings. No I/O; times are Unix ms."""

    def __init__(self, told: Sequence[definition.Mapping]) -> None:
        self._mappings = [mapping for mapping in told if mapping.preset == definition.SPARKPLUG]
        self.filters = [_filter(mapping, kind) for mapping in self._mappings for kind in KINDS]
        """To be subscribed to."""
        self._ours = {ours for mapping in self._mappings for ours in mapping.devices.values()}
        """The devices of ours that are named one by one, or were heard."""
        self._nodes: dict[tuple[str, str], Node] = {}
        self._born: dict[str, Born] = {}
        self._left_out: set[tuple[str, str]] = set()
        """What of whom was said to be left out."""

    def forget(self) -> None:
        """Take nothing for known: while we were away there may have been births."""
        self._born.clear()
        for node in self._nodes.values():
            node.births.clear()
            node.seq, node.is_born, node.asked_at = None, False, None

    def is_born(self, name: str) -> bool:
        """Whether a birth has told of a device of ours, so that it can be written to."""
        return name in self._born

    def is_unborn(self, name: str) -> bool:
        """Whether a device is one of these, and no birth has told of it: what is for it waits."""
        return name in self._ours and name not in self._born

    def publication(self, name: str, kind: str, parameters: dict[str, Any], now: int) -> Publication:
        """Return the message of a command to a device that is born. Raises Rejected."""
        born = self._born[name]
        metric, value = written(kind, parameters)
        told = born.birth.by_name.get(metric)
        if told is None or told.datatype is None:
            raise Rejected("name", f"{metric} is no metric of its birth")
        sent = metric_of(value, told.datatype)._replace(name=told.name, alias=told.alias)
        kind, path = ("NCMD", "") if born.place.device is None else ("DCMD", f"/{born.place.device}")
        topic = f"{born.place.group}/{kind}/{born.place.node}{path}"
        return Publication(topic, encode(Payload(now, None, [sent])))

    def hear(self, topic: str, payload: bytes, now: int, *, is_repeat: bool = False) -> Heard | None:
        """Return what comes of a message, None if its topic is none of these."""
        place = self._place(topic)
        if place is None:
            return None
        heard = Heard(topic, payload, place.name)
        try:
            heard.device = ours_of(place.mapping, place.name)
            if heard.device is not None and len(self._ours) < NODES_KNOWN:
                self._ours.add(heard.device)
        except Rejected as error:  # and yet its node has counted it
            heard.refuse([Fault(error.field, error.reason)])
        try:
            self._take(place, decode(payload), now, heard, is_repeat=is_repeat)
        except Rejected as error:
            heard.refuse([Fault(error.field, error.reason)])
        return heard

    def _take(self, place: Place, said: Payload, now: int, heard: Heard, *, is_repeat: bool) -> None:
        node = self._node(place)
        if place.kind == "NDEATH":
            self._die(place, node, said, heard)
            return
        if not is_repeat:
            heard.is_gap = place.kind != "NBIRTH" and node.is_gap_before(said.seq)
            node.seq = said.seq
        if place.kind == "NBIRTH":
            node.is_born, node.bd_seq = True, _bd_seq(said)
            node.births.clear()
        if place.kind == "DDEATH":
            self._leave(place, node, heard)
            return
        faults = self._bear(place, node, said, heard) if place.kind in BIRTHS else []
        told = read(said.metrics, said.ts, node.births.get(place.device) or Birth())
        self._tell(told, faults, heard)
        is_known = node.is_born and place.device in node.births and not told.is_unborn
        if heard.device is not None and (heard.is_gap or not is_known):
            heard.rebirth = _rebirth(place, node, now)

    def _bear(self, place: Place, node: Node, said: Payload, heard: Heard) -> list[Fault]:
        """Take note of a birth, and return what is wrong with it."""
        birth = node.births[place.device] = Birth()
        faults = []
        for number, metric in enumerate(said.metrics):
            try:
                birth.add(metric)
            except Rejected as error:
                faults.append(Fault(f"metrics.{number}.{error.field}", error.reason))
        if heard.device is not None:
            self._born[heard.device] = Born(place, birth)
            node.online.add(heard.device)
            names = [name for name in birth.by_name if _is_shown(name)]
            told = messages.discovery("birth", {"capabilities": names[:MAX_CAPABILITIES]})
            heard.messages += [Message(device(heard.device, DISCOVERY), told), _presence(heard.device, is_online=True)]
        return faults

    def _die(self, place: Place, node: Node, said: Payload, heard: Heard) -> None:
        """Take all of a node for gone, unless it is an earlier life of it that has ended."""
        ended = _bd_seq(said)
        if ended is not None and node.bd_seq is not None and ended != node.bd_seq:
            return
        listed = place.mapping.devices.items()
        gone = node.online | {ours for theirs, ours in listed if theirs.startswith(f"{place.name}/")}
        if heard.device is not None:
            gone.add(heard.device)
        for name in sorted(gone):
            self._born.pop(name, None)
            heard.messages.append(_presence(name, is_online=False))
        node.births.clear()
        node.online.clear()
        node.is_born, node.seq = False, None

    def _leave(self, place: Place, node: Node, heard: Heard) -> None:
        node.births.pop(place.device, None)
        if heard.device is not None:
            self._born.pop(heard.device, None)
            node.online.discard(heard.device)
            heard.messages.append(_presence(heard.device, is_online=False))

    def _tell(self, told: Said, faults: list[Fault], heard: Heard) -> None:
        if heard.device is None:
            return
        address = device(heard.device, TELEMETRY)
        heard.messages += [Message(address, payload) for payload in telemetry(told.readings)]
        heard.left_out = len(told.left_out)
        for metric in told.left_out:
            if (heard.device, metric) not in self._left_out and len(self._left_out) < LEFT_OUT_TOLD:
                self._left_out.add((heard.device, metric))
                log.warning("sparkplug_metric_left_out", device=heard.device, metric=metric)
        if faults or told.faults:
            heard.refuse(faults + told.faults)

    def _place(self, topic: str) -> Place | None:
        for mapping in self._mappings:
            base = _base(mapping)
            levels = topic.removeprefix(f"{base}/").split("/") if topic.startswith(f"{base}/") else []
            group = base if "/" in base else "/".join([base, *levels[:1]])
            names = [] if "/" in base else levels[:1]
            kind, *path = levels[len(names) :] or [""]
            if kind in KINDS and len(path) == (1 if kind in NODE_KINDS else 2):
                return Place(mapping, group, kind, path[0], path[1] if path[1:] else None, "/".join(names + path))
        return None

    def _node(self, place: Place) -> Node:
        key = (place.group, place.node)
        if key not in self._nodes and len(self._nodes) >= NODES_KNOWN:
            raise Rejected("node", f"is one more than the {NODES_KNOWN} that are taken of a broker")
        return self._nodes.setdefault(key, Node())


def _base(mapping: definition.Mapping) -> str:
    return NAMESPACE if mapping.base is None else mapping.base.rstrip("/")


def _filter(mapping: definition.Mapping, kind: str) -> str:
    base = _base(mapping)
    return f"{base if '/' in base else f'{base}/+'}/{kind}/+{'' if kind in NODE_KINDS else '/+'}"


def _bd_seq(said: Payload) -> int | None:
    return next((one.raw for one in said.metrics if one.name == BD_SEQ and isinstance(one.raw, int)), None)


def _is_shown(name: str) -> bool:
    return name != BD_SEQ and not name.startswith(CONTROLS) and len(name) <= MAX_NAME and is_text(name)


def _presence(name: str, *, is_online: bool) -> Message:
    return Message(device(name, STATE), messages.state(is_online, BOOT, SESSION))


def _rebirth(place: Place, node: Node, now: int) -> Publication | None:
    """Ask a node to tell all its births again, once in a while."""
    if node.asked_at is not None and now - node.asked_at < REBIRTH_EVERY_MS:
        return None
    node.asked_at = now
    metric = Metric(name=REBIRTH, datatype=DataType.BOOLEAN, field="boolean_value", raw=True)
    return Publication(f"{place.group}/NCMD/{place.node}", encode(Payload(now, None, [metric])))
