"""Loopback ports that a demo keeps from one start to the next, unless somebody else has taken one."""

import json
import socket
from pathlib import Path


class Ports:
    """Ports by what listens there, remembered in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str) -> int:
        """Return a free port: the one of the last start, if it still is."""
        port = self._known.get(name)
        if port is None or not is_free(port):
            port = _any_free()
            self._known[name] = port
            self._path.write_text(json.dumps(self._known))
        return port


def is_free(port: int) -> bool:
    """Whether a process may listen on a loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
