"""What a connection writes in one turn of the loop goes out at once, in its order. (C2, E2)"""

import asyncio

from fieldloom_gateway.adapters.gathering import Gathering

FIRST, SECOND, DISCONNECT = b"\x30\x01a", b"\x30\x01b", b"\xe0\x00"


async def test_messages_of_one_turn_are_one_write():
    written = []
    gathering = Gathering(written.append)

    gathering.write(FIRST)
    gathering.write(SECOND)
    assert written == []
    await asyncio.sleep(0)
    gathering.write(FIRST)
    await asyncio.sleep(0)

    assert written == [FIRST + SECOND, FIRST]


async def test_what_ends_a_connection_is_written_at_once_behind_what_waits():
    written = []
    gathering = Gathering(written.append)

    gathering.write(FIRST)
    gathering.write(DISCONNECT)

    assert written == [FIRST + DISCONNECT]
    await asyncio.sleep(0)
    assert len(written) == 1
