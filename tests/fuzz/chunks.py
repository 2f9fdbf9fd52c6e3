"""What a board asks for of a release, and the chunks that it gets. (F5)"""

from fieldloom_contract import update
from fieldloom_contract.errors import Rejected
from fuzz.target import Target, chosen, numbered

RELEASE = "esp32-generic-1.4.0"
SEEDS = [
    [update.request(RELEASE, "manifest", 0, 2048), update.request(RELEASE, "files/lib/a.mpy", 2048, 16384)],
    [update.pack_chunk(RELEASE, "manifest", 0, 5, b"hello"), update.pack_unknown(RELEASE, "key", "is not here")],
]
TARGET = Target(chosen([update.parse_request, update.unpack_chunk]), numbered(SEEDS), (Rejected,))
