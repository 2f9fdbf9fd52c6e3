"""The first start of a release: it has to prove itself in time, or the board goes back by itself. (F5)

What it has to show is that it can be updated again: connected, and a record acknowledged. One that can't even get here
is sent back by main.py (an exception) or by the watchdog and boot.py (a hang).
"""

import asyncio

import machine

from fieldloom_agent import SLOT, overlay, slots
from fieldloom_contract.board_topics import EVENT
from fieldloom_contract.errors import Rejected

DEADLINE_MS = 120000
LOOK_MS = 250


def begin(board, state):
    """Begin the trial of the release that runs."""
    # What the gateway is to acknowledge, however seldom this board measures.
    board.record(EVENT, {"type": "update.trial", "data": {"release": state["try"]}})
    asyncio.create_task(_watch(board, state))


async def _watch(board, state):
    try:
        began = board.clock.up()
        while not _is_acknowledged(board):
            if board.clock.up() - began >= DEADLINE_MS:
                raise Rejected("trial", "no record was acknowledged within " + str(DEADLINE_MS // 1000) + " s")
            await asyncio.sleep_ms(LOOK_MS)
        _confirm(board, state)
    except Exception as error:
        state["failed"] = str(error) if isinstance(error, Rejected) else repr(error)[:128]
        slots.store(state)
        board.buffer.flush()
        machine.reset()


def _confirm(board, state):
    overlay.call("trust", "raise_floor", SLOT)
    passed = {"run": slots.other(state["run"]), "spare": state["from"], "done": state["try"]}
    passed.update([(field, state[field]) for field in ("from", "command", "back") if field in state])
    slots.store(passed)
    overlay.call("update", "conclude", board, passed)


def _is_acknowledged(board):
    """Whether the gateway has a record of this life."""
    first = board.buffer.first(board.boot)
    return board.buffer.next > 1 and (first is None or first > 1)
