"""Answers a gateway that asks who is there, not all boards at once. (C8)"""

import asyncio
import random

from fieldloom_contract.board_topics import DISCOVERY
from fieldloom_contract.compat import const
from fieldloom_contract.discovery import discovery, parse_discovery_request

_SPREAD_MS = const(3000)


def take(board, payload):
    """Begin to answer a request. Raises Rejected."""
    asyncio.create_task(_answer(board, parse_discovery_request(payload)))


async def _answer(board, request):
    await asyncio.sleep_ms(random.randrange(_SPREAD_MS))
    told = dict(board.facts(), type=board.settings.type, capabilities=list(board.drivers))
    board.connection.tell(DISCOVERY, discovery(request, told))
