"""Releases for tests, made by the real builder: good ones, and what attackers and accidents make of them. (F5)"""

import json
import random

from fieldloom_build import boards, package, release, release_keys
from fieldloom_build.personal import CONFIGURATION_FILE, ROOT_FILE

BOARD = "esp32-generic"
SETTINGS = {
    "device": "board-1",
    "board": BOARD,
    "type": "t",
    "interval": 1000,
    "drivers": [{"driver": "simulated", "name": "climate"}],
    "gateways": [{"id": "gw.one", "host": "h", "port": 1}],
}
FAR = 2_000_000_000
LARGE = "lib/large.bin"
LARGE_BYTES = 40_000


class Maker:
    """A root, release keys that it signs, and releases of this firmware."""

    def __init__(self, folder):
        self.folder = folder
        self.root = release_keys.new_root(folder / "root")
        self.board = boards.load(BOARD)
        self._built = package.of_slot(release.build())
        self._keys = {}

    def key(self, serial=1, root="root", expires=FAR):
        if (serial, root, expires) not in self._keys:
            if not (self.folder / root).exists():
                release_keys.new_root(self.folder / root)
            folder = self.folder / f"{root}-{serial}-{expires}"
            release_keys.new_key(self.folder / root, folder, serial, expires)
            self._keys[serial, root, expires] = release_keys.load_key(folder)
        return self._keys[serial, root, expires]

    def contents(self, version, large=False, **changed):
        """The files of a slot; `changed` are sources in the place of the agent's modules."""
        files = self._built | {"release.json": json.dumps({"version": version, "built": 1700000000}).encode()}
        if large:
            files[LARGE] = random.Random(version).randbytes(LARGE_BYTES)
        for name, source in changed.items():
            files[f"lib/fieldloom_agent/{name}.mpy"] = release.compile_source(source, f"fieldloom_agent.{name}")
        return files

    def make(self, version, key=None, floor="0.0.0", expires=FAR, **changed):
        head = package.head(self.board, version, floor, expires)
        return package.make(head, self.contents(version, **changed), key or self.key(), self.board.micropython)

    def flashed(self, version, root=True, **settings):
        """The files of a board that was flashed with a version."""
        files = release.build(version)
        files |= {f"{release.SLOT}/{path}": content for path, content in self.contents(version).items()}
        files[CONFIGURATION_FILE] = json.dumps(SETTINGS | settings).encode()
        return files | ({ROOT_FILE: self.root} if root else {})


def put(folder, files):
    for path, content in files.items():
        place = folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
