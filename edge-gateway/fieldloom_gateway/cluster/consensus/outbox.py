"""What a member's core wants to send, collected until its batch is on the disk; PySyncObj takes it for a transport."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pysyncobj.node import Node
from pysyncobj.transport import Transport

from fieldloom_gateway.cluster.consensus.messages import Message


class Letter(NamedTuple):
    """A message and whom it is for."""

    name: str
    message: Message


AHEAD = ("append_entries", "canvass")
"""What promises nothing about this member's disk, so that it may leave before the batch is written."""


class Outbox(Transport):  # type: ignore[misc]  # PySyncObj has no types
    """Letters to members, and who is within reach. `on_members` hears whom to talk to: name, address or None."""

    ready = True

    def __init__(self, on_members: Callable[[str, str | None], None]) -> None:
        super().__init__(None, None, [])
        self._on_members = on_members
        self._nodes: dict[str, Node] = {}
        self._letters: list[Letter] = []
        self._connected: set[str] = set()
        self.stamp: Callable[[Message], None] = lambda _: None
        """Completes a message before it is kept."""

    def send(self, node: Node, message: Message) -> bool:
        if node.id not in self._connected:
            return False
        self.stamp(message)
        self._letters.append(Letter(node.id, message))
        return True

    def take_ahead(self) -> list[Letter]:
        """Return what may leave at once, and forget it."""
        ahead = [letter for letter in self._letters if letter.message["type"] in AHEAD]
        if ahead:
            self._letters = [letter for letter in self._letters if letter.message["type"] not in AHEAD]
        return ahead

    def take(self) -> list[Letter]:
        """Return all that waits, and forget it."""
        letters, self._letters = self._letters, []
        return letters

    def reaches(self, name: str) -> bool:
        return name in self._connected

    def node(self, name: str, address: str) -> Node:
        """Return a member, or a stranger with the secret, by its name."""
        return self._nodes.get(name) or Node(name, address=address)

    def connected(self, name: str, address: str) -> None:
        """Note that somebody is within reach."""
        self._connected.add(name)
        if name in self._nodes:
            self._onNodeConnected(self.node(name, address))

    def disconnected(self, name: str) -> None:
        self._connected.discard(name)
        if name in self._nodes:
            self._onNodeDisconnected(self._nodes[name])

    def addNode(self, node: Node) -> None:  # noqa: N802
        self._nodes[node.id] = node
        self._on_members(node.id, node.address)
        if node.id in self._connected:
            self._onNodeConnected(node)

    def dropNode(self, node: Node) -> None:  # noqa: N802
        self._nodes.pop(node.id, None)
        self._on_members(node.id, None)
        self._onNodeDisconnected(node)

    def tryGetReady(self) -> None:  # noqa: N802
        """There is nothing to wait for."""

    def destroy(self) -> None:
        """Do nothing: the peers are closed by their owner."""


def grouped(letters: list[Letter]) -> dict[str, list[Message]]:
    """Return the messages by whom they are for, in order."""
    groups: dict[str, list[Any]] = {}
    for name, message in letters:
        groups.setdefault(name, []).append(message)
    return groups
