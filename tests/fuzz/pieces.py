"""A release's files between cloud and gateway: questions, answers, the index. (F5)"""

import tempfile
from pathlib import Path

from fieldloom_cloud.releases.serving import Pieces
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.releases.cache import Cache
from fieldloom_gateway.releases.fetch import Fetcher
from fieldloom_runtime import decoding, pieces
from fuzz.target import Target, chosen, numbered

_folder = tempfile.TemporaryDirectory()
cache = Cache(Path(_folder.name), 2**22)
fetcher = Fetcher(cache, lambda _: None)
serving = Pieces(None, lambda *_: None)
RELEASE = "esp32-generic-1.4.0"
SEEDS = [
    [pieces.encode(pieces.Wanted(RELEASE, "files/main.py", 32768))],
    [
        pieces.encode(pieces.Piece(RELEASE, "files/main.py", 0, 3, b"abc")),
        pieces.encode(pieces.Unknown(RELEASE, "index", "there is no such release")),
    ],
    [pieces.encode_index({"files/main.py": pieces.Entry("0" * 64, 3)})],
]
CRASHES = [
    [b"\x84\xa7release\xa2\xff\xfe\xa4file\xa1a\xa6offset\x00\xa6length\x01"],
    [b"\x82\xa4type\xa5piece\xa1x" + b"\x91" * 50_000],
    [b'{"\xff\xff":["a",1]}'],
]


def at_the_cloud(data: bytes) -> None:
    serving.hear("gw.test", data)


def kept(data: bytes) -> None:
    try:
        cache.keep_index(RELEASE, data)
    except decoding.UNREADABLE:
        return
    assert cache.index(RELEASE) is not None


TARGET = Target(chosen([at_the_cloud, fetcher.hear, kept]), numbered(SEEDS), (Rejected,), numbered(CRASHES))
