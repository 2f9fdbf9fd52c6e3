"""Commands for a state machine of the replicated map, as a client of one session sends them."""

from fieldloom_gateway.cluster.state.commands import (
    Command,
    Compare,
    Delete,
    Expire,
    Open,
    Set,
    Touch,
    Transaction,
    decode_outcome,
    encode,
)
from fieldloom_gateway.cluster.state.machine import ReplicatedMap


class Client:
    """Numbers its commands and applies them at once, at an index of its own count."""

    def __init__(self, machine=None):
        self.machine = machine or ReplicatedMap()
        self.index = self.machine.index
        self.now = 0
        self.sequence = 0
        self.log = []
        self.session = self.apply(Open("test")).session

    def apply(self, body, session=0, sequence=0, settled=0):
        return self.send(encode(Command(1, self.now, session, sequence, settled, body)))

    def send(self, command):
        self.index += 1
        self.log.append((self.index, command))
        return decode_outcome(self.machine.apply(self.index, command))

    def repeat(self):
        """Send the last command again, as after an answer that was lost."""
        return self.send(self.log[-1][1])

    def do(self, *operations, compares=(), settle=True):
        self.sequence += 1
        settled = self.sequence - 1 if settle else 0
        return self.apply(Transaction(tuple(compares), operations), self.session, self.sequence, settled)

    def set(self, key, value=b"", expected=None, **options):
        return self.do(Set(key, value, **options), compares=as_compares(key, expected))

    def delete(self, key, expected=None):
        return self.do(Delete(key), compares=as_compares(key, expected))

    def touch(self, key):
        return self.do(Touch(key))

    def expire(self):
        due = self.machine.entries.due(max(self.now, self.machine.now))
        return self.apply(Expire(tuple((entry.key, entry.renewed) for entry in due)))

    def get(self, key):
        return self.machine.entries.get(key)


def as_compares(key, expected):
    return () if expected is None else (Compare(key, "modified", expected),)
