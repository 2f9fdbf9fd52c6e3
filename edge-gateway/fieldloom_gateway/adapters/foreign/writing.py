"""From a command of ours to the message that a device of others understands. Pure. (A3)"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NAME
from fieldloom_gateway.adapters.foreign.definition import Command
from fieldloom_gateway.adapters.foreign.patterns import fill

WRITE = "write"
NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_NAME}}}")


class Publication(NamedTuple):
    """What is sent to a broker."""

    topic: str
    payload: bytes


def written(kind: str, parameters: dict[str, Any]) -> tuple[str, Any]:
    """Return what is to be written, and its value. Raises Rejected for any other command."""
    if kind != WRITE:
        raise Rejected("type", f"{kind} is not known: a device of another broker takes {WRITE} alone")
    name = parameters.get("name")
    if not isinstance(name, str):
        raise Rejected("name", "must be a text")
    if "value" not in parameters:
        raise Rejected("value", "is missing")
    return name, parameters["value"]


def publication(commands: Sequence[Command], theirs: str, kind: str, parameters: dict[str, Any]) -> Publication:
    """Return the message to a device, `theirs` being its own name. Raises Rejected for what no mapping covers."""
    name, value = written(kind, parameters)
    if not NAME.fullmatch(name):
        raise Rejected("name", f"must have 1 to {MAX_NAME} letters, digits and _ . -")
    for command in commands:
        if command.names is None or name in command.names:
            return _filled(command, {"device": theirs, "name": name, "value": _word(command, value)})
    raise Rejected("name", f"{name} is not mapped to a topic")


def _word(command: Command, value: Any) -> Any:
    if not isinstance(value, bool):
        return value
    return next((word for word, meant in command.booleans.items() if meant is value), value)


def _filled(command: Command, parts: dict[str, Any]) -> Publication:
    topic = str(fill(command.topic, parts))
    content = fill(command.payload, parts)
    return Publication(topic, content.encode(errors="replace") if isinstance(content, str) else messages.dumps(content))
