"""What lives until when: a heap that holds each key once, however often its deadline moves on."""

from heapq import heapify, heappop, heappush


class Deadlines:
    """Keys and their deadlines, in ms of any clock."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}
        self._queued: dict[str, int] = {}
        """Under which time a key stands in the heap, never later than its deadline."""
        self._heap: list[tuple[int, str]] = []

    def set(self, key: str, deadline: int) -> None:
        """Give a key a deadline, in place of its former one."""
        self._of[key] = deadline
        if key not in self._queued or deadline < self._queued[key]:
            self._push(key, deadline)

    def drop(self, key: str) -> None:
        """Let a key have no deadline."""
        self._of.pop(key, None)
        if len(self._heap) > 2 * len(self._of) + 64:
            self._queued = dict(self._of)
            self._heap = [(deadline, key) for key, deadline in self._of.items()]
            heapify(self._heap)

    def next(self) -> int | None:
        """Return the first deadline, None if nothing has one."""
        while self._heap:
            queued, key = self._heap[0]
            deadline = self._of.get(key)
            if self._queued.get(key) == queued == deadline:
                return deadline
            heappop(self._heap)
            if self._queued.get(key) == queued:
                del self._queued[key]
                if deadline is not None:
                    self._push(key, deadline)
        return None

    def due(self, now: int) -> list[str]:
        """Return the keys whose deadline is not after `now`, the earliest first."""
        first = self.next()
        if first is None or first > now:
            return []
        return [key for _, key in sorted((deadline, key) for key, deadline in self._of.items() if deadline <= now)]

    def _push(self, key: str, deadline: int) -> None:
        self._queued[key] = deadline
        heappush(self._heap, (deadline, key))
