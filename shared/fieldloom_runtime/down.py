"""What travels from the cloud down to a gateway and is no command: one JSON object a record, typed on both sides."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import Struct

from fieldloom_engine import holds
from fieldloom_runtime.records import Name, Whole

WITHDRAWN = "withdrawn"
REVOKED = "revoked"
ANSWERED = "answered"
TWIN = "twin"
CREDENTIAL = "credential"
REMOVED = "removed"
RULE = "rule"
RULES = "rules"
WORKFLOW = "workflow"
WORKFLOWS = "workflows"
TOPICS = "topics"
START = "start"
TERMINATE = "terminate"
SIGNAL = "signal"
RETRY = "retry"
RELEASE = "release"


class Withdrawn(Struct, tag_field="kind", tag=WITHDRAWN):
    """What is left of a record that a later one has made needless: its place in the stream."""


class Revoked(Struct, tag_field="kind", tag=REVOKED):
    """A part of the CA's list of revoked certificates, and whom to cut off once all of it is there. (P3)"""

    number: Whole
    """Of the list; a higher one takes the place of a lower one."""
    part: Whole
    """From 1 to `parts`."""
    parts: Whole
    der: bytes
    cut: list[str] = []
    """Identities that have another certificate, and come back with it."""
    hold: list[str] = []
    """Identities that have none, and are kept out."""


class Answered(Struct, tag_field="kind", tag=ANSWERED):
    """What a device's request for a certificate came to. (P4)"""

    device: str
    request: str
    """SHA-256 of the request."""
    certificate: bytes | None = None
    """DER."""
    error: str | None = None


class TwinPatch(Struct, tag_field="kind", tag=TWIN):
    """What is to be otherwise in a device's desired half (RFC 7396), and the newest of it that the cloud knows. (R4)"""

    device: str
    version: int
    """Of `values`, the desired half as the cloud knows it: a gateway that has an older one takes it over."""
    values: dict[str, Any]
    id: str | None = None
    """Without one the patch only tells what the cloud knows."""
    changes: dict[str, Any] = {}


class Credential(Struct, tag_field="kind", tag=CREDENTIAL):
    """What a device proves itself by that is no certificate; the newest record of an id counts. (P8)"""

    id: str
    """The device's name, a dot, and 12 hexadecimal digits."""
    device: str
    protocol: str
    """`http`, `psk`, `oscore` or `amqp`."""
    secret: bytes
    """A token's SHA-256 (http), RabbitMQ's hash of a password (amqp), else the key itself; empty once it is revoked."""
    ends: Whole | None = None
    """In Unix ms; from then on it is good for nothing."""


class Removed(Struct, tag_field="kind", tag=REMOVED):
    """A device is no longer of this site: its commands that wait have ended. (R1)"""

    device: str


class Rule(Struct, tag_field="kind", tag=RULE):
    """A version of a rule to put to work, in place of any other of its id. (E5)"""

    id: str
    version: str
    document: dict[str, Any]
    """As `fieldloom_engine.rules.parse` takes it."""
    mode: Literal["active", "shadow"] = "active"
    devices: list[str] | None = None
    """Which devices of the site it is for, where it names a group, a type or tags; None for all."""


class Rules(Struct, tag_field="kind", tag=RULES):
    """All rules that the gateway shall have; what is not among them goes. (E5)"""

    ids: dict[str, str]
    """The version by id."""


class Workflow(Struct, tag_field="kind", tag=WORKFLOW):
    """A version of a workflow to put to work: from now on instances start with it. (W7)"""

    id: str
    version: str
    document: dict[str, Any]
    """As `fieldloom_engine.workflows.parse` takes it."""
    devices: list[str] | None = None
    """Which devices of the site may start it, where it names a group, a type or tags; None for all."""


class Workflows(Struct, tag_field="kind", tag=WORKFLOWS):
    """All workflows that the gateway shall have; of what is not among them nothing starts any more. (W4, W7)"""

    ids: dict[str, str]
    """The version by id."""


class Topics(Struct, tag_field="kind", tag=TOPICS):
    """What workflows of the cloud want to hear of the site; of topics that are not among these nothing goes up. (W4)"""

    filters: list[str]
    """Topic filters of MQTT below `site/`."""


class Start(Struct, tag_field="kind", tag=START):
    """An instance that shall begin, by the version that is at work at the gateway. (W4, W7)"""

    id: str
    """The instance's; `request` of the answer."""
    workflow: str
    variables: dict[str, Any] = {}


class Terminate(Struct, tag_field="kind", tag=TERMINATE):
    """An instance shall end. (W7)"""

    id: str
    """Of the request, as in all that follows: `request` of the answer."""
    instance: str
    reason: str
    undo: bool = True


class Signal(Struct, tag_field="kind", tag=SIGNAL):
    """An event for one instance. (W2, W7)"""

    id: str
    instance: str
    type: str
    data: dict[str, Any] = {}


class Retry(Struct, tag_field="kind", tag=RETRY):
    """An instance that is over shall begin again at a state. (W7)"""

    id: str
    instance: str
    state: str
    variables: dict[str, Any] = {}


class Release(Struct, tag_field="kind", tag=RELEASE):
    """Somebody's wish that a slot of an actuator be held no more. (E9)"""

    device: str
    actuator: Name
    id: Name
    priority: holds.Priority
    by: holds.Owner


Deployable = Rule | Rules | Workflow | Workflows
Request = Start | Terminate | Signal | Retry
"""What somebody asks of an instance at a gateway, which tells by `workflow.answered` what came of it."""
ForAutomation = Deployable | Topics | Request | Release
Down = Withdrawn | Revoked | Answered | TwinPatch | Credential | Removed | ForAutomation

encode = msgspec.json.Encoder().encode
decode: Callable[[bytes], Down] = msgspec.json.Decoder(Down).decode
