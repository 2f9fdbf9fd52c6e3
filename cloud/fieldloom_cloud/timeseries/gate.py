"""Many may be inside at once, or one alone: what keeps queries off a file that is about to be exchanged."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Lets in any number together, or one alone, who waits until the others are out; nobody enters meanwhile."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Be inside with others."""
        with self._changed:
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be inside alone."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside == 0)
            yield
