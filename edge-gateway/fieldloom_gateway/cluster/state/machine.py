"""The replicated map as a state machine: the same commands make the same state, byte for byte, at every member. (D2)"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.state import limits
from fieldloom_gateway.cluster.state.checking import check
from fieldloom_gateway.cluster.state.commands import (
    Command,
    Compare,
    Delete,
    Done,
    Expire,
    Header,
    Lapsed,
    Open,
    Opened,
    Operation,
    Outcome,
    Refused,
    Set,
    Touch,
    Transaction,
    Unmet,
    decode,
    encode,
)
from fieldloom_gateway.cluster.state.entries import Entries, Entry
from fieldloom_gateway.cluster.state.errors import NewerVersion
from fieldloom_gateway.cluster.state.history import Change, Changes, History
from fieldloom_gateway.cluster.state.sessions import Session, Sessions

SNAPSHOT_VERSION = 1


class _Snapshot(msgspec.Struct, array_like=True):
    version: int
    index: int
    now: int
    entries: list[Entry]
    sessions: list[Session]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Snapshot)
_header = msgspec.msgpack.Decoder(Header)


class ReplicatedMap:
    """A StateMachine of the consensus: entries, sessions, the last changes, and the cluster's time."""

    def __init__(self) -> None:
        self.index = 0
        """The index of the last command."""
        self.now = 0
        """The cluster's time: ms that have passed since it began, as far as commands tell."""
        self.entries = Entries()
        self.history = History(0)
        self._sessions = Sessions()
        self.observers: list[Callable[[Iterable[str]], None]] = []
        """Are called after each command and snapshot, with the keys of what was written, touched or removed."""
        self._touched: set[str] = set()

    def apply(self, index: int, command: bytes) -> bytes:
        """Return the outcome of a command, encoded. Raises NewerVersion, after which this member must not go on."""
        try:
            outcome = self._take(index, decode(command))
        except msgspec.DecodeError as error:
            outcome = encode(Refused("command", str(error)))
        self.index = index
        self._tell()
        return outcome

    def query(self, question: bytes) -> bytes:
        """Return the entries, in MessagePack, whose keys begin with a prefix, which is the question in UTF-8."""
        return _encoder.encode(self.entries.below(question.decode(errors="replace")))

    def snapshot(self) -> bytes:
        """Return the whole state but the history."""
        return _encoder.encode(
            _Snapshot(SNAPSHOT_VERSION, self.index, self.now, list(self.entries), self._sessions.all())
        )

    def restore(self, snapshot: bytes) -> None:
        """Take the state of a snapshot in place of this one. Watches that are behind it get Compacted.

        Raises NewerVersion.
        """
        version = _header.decode(snapshot).version
        if version > SNAPSHOT_VERSION:
            raise NewerVersion("snapshot", version, SNAPSHOT_VERSION)
        state = _decoder.decode(snapshot)
        self._touched.update(entry.key for entry in self.entries)
        self.index, self.now = state.index, state.now
        self.entries = Entries(state.entries)
        self._sessions = Sessions(state.sessions)
        self.history = History(state.index)
        self._touched.update(entry.key for entry in state.entries)
        self._tell()

    def _tell(self) -> None:
        for observer in self.observers:
            observer(self._touched)
        self._touched.clear()

    def _take(self, index: int, command: Command) -> bytes:
        self.now = max(self.now, command.now)
        match command.body:
            case Open(name):
                self._sessions.open(index, name)
                return encode(Opened(index))
            case Expire(seen):
                return encode(self._expire(index, seen))
            case Transaction() as transaction:
                return self._once(index, command, transaction)

    def _once(self, index: int, command: Command, transaction: Transaction) -> bytes:
        """Do a transaction, unless it was sent before: then return what became of it."""
        session = self._sessions.get(command.session)
        if session is None:
            return encode(Lapsed())
        session.used = index
        session.settle(command.settled)
        known = session.outcomes.get(command.sequence)
        if known is not None:
            return known
        if command.sequence <= session.settled or session.is_full:
            reason = f"{command.sequence} is settled, or more than {limits.OUTCOMES} before it are not"
            return encode(Refused("sequence", reason))
        outcome = encode(self._transact(index, transaction))
        session.outcomes[command.sequence] = outcome
        return outcome

    def _transact(self, index: int, transaction: Transaction) -> Outcome:
        try:
            check(transaction)
            unmet = self._unmet(transaction)
            if unmet is not None:
                found = self.entries.get(unmet)
                numbers = (found.created, found.modified, found.version) if found else (0, 0, 0)
                return Unmet(index, unmet, *numbers)
            self._check_holders(transaction.operations)
            self._check_room(transaction.operations)
        except Rejected as error:
            return Refused(error.field, error.reason)
        changes: dict[str, Change] = {}
        for operation in transaction.operations:
            self._do(index, operation, changes)
        return self._done(index, changes)

    def _unmet(self, transaction: Transaction) -> str | None:
        """Return the key that is not as expected, None if all are."""
        for compare in transaction.compares:
            if _attribute(self.entries.get(compare.key), compare) != compare.expected:
                return compare.key
        for operation in transaction.operations:
            if isinstance(operation, Touch) and self.entries.get(operation.key) is None:
                return operation.key
        return None

    def _check_holders(self, operations: Sequence[Operation]) -> None:
        """Raise Rejected where a holder is not there afterwards, or would be held itself."""
        at_once = {one.key: one for one in operations if not isinstance(one, Touch)}
        for at, one in enumerate(operations):
            if not isinstance(one, Set) or not one.holder:
                continue
            path = f"operations[{at}].holder"
            holder = at_once.get(one.holder) or self.entries.get(one.holder)
            if holder is None or isinstance(holder, Delete):
                raise Rejected(path, f"{one.holder!r} is absent")
            if holder.holder:
                raise Rejected(path, f"{one.holder!r} is held itself, by {holder.holder!r}")
            if self.entries.held_by(one.key):
                raise Rejected(path, f"{one.key!r} holds others itself")

    def _check_room(self, operations: Sequence[Operation]) -> None:
        """Raise Rejected where there would be too many entries, or too large ones."""
        more, bytes_more = 0, 0
        for one in operations:
            found = self.entries.get(one.key)
            if isinstance(one, Touch) or (found is None and isinstance(one, Delete)):
                continue
            more -= found is not None
            bytes_more -= found.size if found else 0
            if isinstance(one, Set):
                more += 1
                bytes_more += len(one.key.encode()) + len(one.value)
        if more > 0 and len(self.entries) + more > limits.ENTRIES:
            raise Rejected("operations", f"the map holds {limits.ENTRIES} entries at most, and is full")
        if bytes_more > 0 and self.entries.bytes + bytes_more > limits.TOTAL_BYTES:
            raise Rejected("operations", f"the map holds {limits.TOTAL_BYTES} bytes at most, and is full")

    def _do(self, index: int, operation: Operation, changes: dict[str, Change]) -> None:
        match operation:
            case Set(key, value, ttl_ms, holder):
                found = self.entries.get(key)
                created, version = (found.created, found.version + 1) if found else (index, 1)
                deadline = self.now + ttl_ms if ttl_ms else 0
                entry = Entry(key, value, created, index, version, ttl_ms, deadline, holder, index)
                self.entries.put(entry)
                self._touched.add(key)
                changes[key] = Change(key, entry)
            case Delete(key):
                self._remove(key, changes, expired=False)
            case Touch(key):
                touched = self.entries.get(key)
                if touched is not None and touched.ttl_ms:
                    deadline = self.now + touched.ttl_ms
                    self.entries.put(msgspec.structs.replace(touched, deadline=deadline, renewed=index))
                    self._touched.add(key)

    def _remove(self, key: str, changes: dict[str, Change], *, expired: bool) -> None:
        """Remove an entry and what it holds, if it is there."""
        if self.entries.get(key) is None:
            return
        for gone in (*self.entries.held_by(key), key):
            self.entries.remove(gone)
            self._touched.add(gone)
            changes[gone] = Change(gone, None, expired)

    def _expire(self, index: int, seen: Sequence[tuple[str, int]]) -> Outcome:
        changes: dict[str, Change] = {}
        for key, renewed in seen:
            entry = self.entries.get(key)
            if entry is not None and entry.renewed == renewed and 0 < entry.deadline <= self.now:
                self._remove(key, changes, expired=True)
        return self._done(index, changes)

    def _done(self, index: int, changes: dict[str, Change]) -> Done:
        if changes:
            self.history.add(Changes(index, tuple(changes.values())))
        return Done(index, len(changes))


def _attribute(entry: Entry | None, compare: Compare) -> int | bytes:
    if entry is None:
        return b"" if compare.attribute == "value" else 0
    found: int | bytes = getattr(entry, compare.attribute)
    return found
