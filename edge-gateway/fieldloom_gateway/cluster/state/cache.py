"""Values of the map as its reader understands them, so that each is decoded once. (D2)"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from fieldloom_gateway.cluster.state.errors import Compacted
from fieldloom_gateway.cluster.state.store import Store

Value = TypeVar("Value")

CAPACITY = 1000
TTL_S = 300.0


class Cache(Generic[Value]):
    """The values below a prefix that were asked for last, as local as `Store.peek` and never older.

    What a watch tells is forgotten before the next answer. `decode` makes a value of an entry's bytes.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        decode: Callable[[bytes], Value],
        capacity: int = CAPACITY,
        ttl_s: float = TTL_S,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._decode = decode
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._steady = steady
        self._prefix = prefix
        self._watch = store.watch(prefix)
        self._values: OrderedDict[str, tuple[float, Value | None]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def get(self, name: str) -> Value | None:
        """Return the value of the key that is the prefix and a name, None if it is absent."""
        key = self._prefix + name
        self._forget_changed()
        now = self._steady()
        until, value = self._values.get(key, (0.0, None))
        if now < until:
            self.hits += 1
            self._values.move_to_end(key)
            return value
        self.misses += 1
        entry = self._store.peek(key)
        value = None if entry is None else self._decode(entry.value)
        self._values[key] = (now + self._ttl_s, value)
        self._values.move_to_end(key)
        if len(self._values) > self._capacity:
            self._values.popitem(last=False)
        return value

    def _forget_changed(self) -> None:
        try:
            changed = self._watch.ready()
        except Compacted:
            self._values.clear()
            self._watch = self._store.watch(self._prefix)
            return
        for one in changed:
            for change in one.changes:
                self._values.pop(change.key, None)
