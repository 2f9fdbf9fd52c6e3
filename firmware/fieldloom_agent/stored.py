"""A payload that is longer than a board has memory for: it waits on flash, where `storing` has put it. (F1)"""

from fieldloom_agent import overlay

FILE = "/message"


class Stored:
    """Such a payload, until the next one comes."""

    def __init__(self, size):
        self._size = size

    def __len__(self):
        return self._size

    def load(self):
        """Return its JSON value. Raises ValueError."""
        return overlay.call("decoding", "load", FILE)
