"""Goes back to the board's own gateway, the first of its list, once that one has answered for a while. (D7)

A look is a connection below the TLS, for which a board has the memory beside the one that it has. Looks are spread at
random, so that not all boards go home at once. Who goes home again within half an hour looks twice as often before.
"""

import asyncio
import random

from fieldloom_agent.tls import TlsStream
from fieldloom_contract.compat import const

LOOKS = const(3)  # answers in a row: a gateway that is back for 40 to 120 s
_MOST = const(48)
_EVERY_MS = const(20000)
_SPREAD_MS = const(20000)
_STEADY_MS = const(1800000)
_DIAL_MS = const(5000)
_QUIET_MS = const(2000)


def look(board):
    """Begin a look, and return in how many ms the next one is due."""
    asyncio.create_task(_look(board, board.connection))
    return _EVERY_MS + random.randrange(_SPREAD_MS)


async def _look(board, connection):
    answers, patience, came = connection.home or (0, LOOKS, None)  # in a row, asked for, when it came home last
    session, now = connection.session, board.clock.up()
    if came is not None and now - came >= _STEADY_MS:
        patience, came = LOOKS, None
    answers = answers + 1 if await _answers(board.settings.gateways[0]) else 0
    connection.home = answers, patience, came
    if answers < patience or board.busy or board.trial is not None or board.trying is not None:
        return
    if connection.session != session or not connection.is_up or not connection.place:
        return  # it has left meanwhile
    print("link: goes home")
    connection.home = 0, min(patience * 2, _MOST), now
    connection.place = 0
    connection.retry()


async def _answers(gateway):
    """Whether a broker answers there: it takes the connection, and says nothing before it is spoken to."""
    stream = TlsStream()
    try:
        await asyncio.wait_for_ms(stream.dial(gateway["host"], gateway["port"]), _DIAL_MS)
        try:
            await asyncio.wait_for_ms(stream.heard(), _QUIET_MS)
        except asyncio.TimeoutError:
            return True
    except (OSError, MemoryError, asyncio.TimeoutError):
        pass
    finally:
        stream.close()
    return False
