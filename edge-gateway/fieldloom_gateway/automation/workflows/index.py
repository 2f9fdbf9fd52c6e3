"""Which instances a site has, whose each is and what it awaits, as far as the local copy of the map tells. (W8)"""

from collections import Counter
from collections.abc import Iterable, Mapping

from fieldloom_engine.workflows import Waiting

Awaited = Mapping[str, frozenset[tuple[int, Waiting]]]
"""What instances wait for, each with their partition, by the type of the event."""


class Index:
    """Changed by one thread, as the map changes; any may read it."""

    def __init__(self) -> None:
        self.homes: dict[str, int] = {}
        """The partition of each instance, by its id."""
        self.queued: set[str] = set()
        """The ids of starts that wait until others have ended."""
        self.awaited: Awaited = {}
        """Replaced as a whole."""
        self._waits: dict[str, frozenset[tuple[int, Waiting]]] = {}
        self._counted: dict[str, Counter[tuple[int, Waiting]]] = {}

    def put(self, name: str, partition: int, waits: Iterable[Waiting]) -> None:
        """Take what is known of an instance now."""
        self.homes[name] = partition
        self._await(name, frozenset((partition, one) for one in waits))

    def drop(self, name: str) -> None:
        """Forget an instance."""
        self.homes.pop(name, None)
        self._await(name, frozenset())

    def _await(self, name: str, waits: frozenset[tuple[int, Waiting]]) -> None:
        had = self._waits.pop(name, frozenset())
        if waits:
            self._waits[name] = waits
        changed = {one.type for _, one in had ^ waits}
        for gone in had - waits:
            self._counted[gone[1].type][gone] -= 1
        for come in waits - had:
            self._counted.setdefault(come[1].type, Counter())[come] += 1
        for type_ in changed:
            self._counted[type_] = +self._counted[type_]
        if changed:
            told = {type_: frozenset(self._counted[type_]) for type_ in changed}
            self.awaited = {type_: waiting for type_, waiting in {**self.awaited, **told}.items() if waiting}
