"""Deep sleep between wakes, by `sleep` of the configuration: {"every", "awake"}, ms. Waking is no start. (F9)

`every` is from wake to wake; awake it stays for `awake` ms after it has reached a gateway, and then until commands,
renewals and whatever else has put its name into `busy` are done and all records are acknowledged. What it has to know
after waking stands in the memory of the real-time clock, which sleep leaves alone.
"""

import asyncio
import json
import time

import machine

from fieldloom_agent import slots
from fieldloom_contract import board_topics as topics
from fieldloom_contract import device

SEARCH_MS = 60000  # for a gateway, beside `awake`
SETTLE_MS = 300000  # for acknowledgements
SHORTEST_MS = 1000
SENT_MS = 100
PATIENCE = 50


def woken():
    """Return what the board knew when it fell asleep, None after any other start."""
    if machine.reset_cause() != machine.DEEPSLEEP_RESET:
        return None
    try:
        known = json.loads(machine.RTC().memory())
        known["up"] += (time.time() - known.pop("at")) * 1000
        return known if known["next"] >= 1 else None
    except (ValueError, KeyError, TypeError):
        return None


def go_on(agent, known):
    """Be the board that fell asleep."""
    agent.clock.go_on(int(known["up"]), known["offset"], known["last"])
    agent.faulty.update(known["faulty"])


def is_due(agent):
    """Whether the board may fall asleep now."""
    now, awake = agent.clock.up(), agent.settings.sleep["awake"]
    since = agent.connection.up_since
    if since is None:
        return agent.trial is None and now - agent.woke_at >= awake + SEARCH_MS
    if agent.busy or slots.is_busy() or agent.trial is not None or agent.trying is not None or now - since < awake:
        return False
    return not agent.buffer.waiting() or now - since >= awake + SETTLE_MS


async def go(agent):
    """Fall asleep until the next wake; tell the gateway for how long."""
    schedule = agent.settings.sleep
    duration = max(SHORTEST_MS, schedule["every"] - (agent.clock.up() - agent.woke_at))
    told = {"sleep": dict(schedule, **{"for": duration})}
    if agent.connection.up_since is not None:
        await _part(agent.connection, device.state(False, agent.boot, agent.connection.session, told))
    agent.buffer.flush(is_end=True)
    known = {"boot": agent.boot, "next": agent.buffer.next, "at": time.time(), "faulty": list(agent.faulty)}
    known["up"], known["offset"], known["last"] = agent.clock.known()
    machine.RTC().memory(json.dumps(known).encode())
    print("sleeps for", duration // 1000, "s")
    machine.deepsleep(duration)


async def _part(connection, state):
    """Leave in order, so that the last will is not sent."""
    for _ in range(PATIENCE):
        if not connection.speaker:
            break
        await asyncio.sleep_ms(SENT_MS)
    try:
        await connection.publish(topics.STATE, state)
        await connection.link.part()
    except (OSError, ValueError) as error:
        print("link:", repr(error))
