"""The signed documents of a release, line by line. (F5)"""

from fieldloom_contract import release
from fieldloom_contract.documents import Manifest, pack_key, pack_manifest, pack_root, parse_manifest
from fieldloom_contract.errors import Rejected
from fuzz.target import Target, chosen, numbered

MODULUS = (1 << 3071) + 12345
HEAD = release.Head("esp32-generic", (1, 4, 0), "6.3", 1_790_000_000, (1, 0, 0))
ENTRIES = [release.Entry("0" * 64, 3, "boot.py"), release.Entry("f" * 64, 2049, "lib/main.mpy")]
SEEDS = [
    [pack_manifest(Manifest(HEAD, ENTRIES))],
    [pack_key(release.Key(3, 1_790_000_000, MODULUS))],
    [pack_root(MODULUS)],
    [b"esp32-generic-1.4.0"],
]


def _id(data: bytes) -> object:
    return release.parse_id(data.decode(errors="replace"))


PARSERS = [parse_manifest, release.parse_key, release.parse_root, _id]
TARGET = Target(chosen(PARSERS), numbered(SEEDS), (Rejected,))
