"""Files of devices that are taken in, and the cursors of lists. (R5, A1)"""

import asyncio

from fieldloom_cloud import pages
from fieldloom_cloud.errors import BadContent
from fieldloom_cloud.registry import rows
from fuzz.target import Target, chosen, numbered

PIECE = 7  # bytes that come in at once


def _reading(read):
    async def all_of(data: bytes) -> object:
        async def chunks():
            for at in range(0, len(data), PIECE):
                yield data[at : at + PIECE]

        return [row async for row in read(rows.lines(chunks()))]

    return lambda data: asyncio.run(all_of(data))


def cursor(data: bytes) -> None:
    pages._check(data.decode(errors="replace"), (str, int))


SEEDS = [
    [b'{"id":"dev-1","name":"Pump","tags":{"floor":"2"},"capabilities":["a"]}\n{"id":"dev-2"}\n'],
    [b'id,name,capabilities,tag:floor\ndev-1,"Pump, old","a;b",2\ndev-2,x,"[""a""]",\n'],
    [b">s:dev-1~i:3", b"<dt:2026-11-26 10:00:00~i:3"],
]
PARSERS = [_reading(rows.from_ndjson), _reading(rows.from_csv), cursor]
TARGET = Target(chosen(PARSERS), numbered(SEEDS), (rows.Unreadable, BadContent))
