"""When a board may fall asleep, and who it is when it wakes, on the real VM. (F9)"""

import json

import pytest

from firmware.vm import run

IMPORTS = """
class RTC:
    content = b""
    def memory(self, content=None):
        if content is None:
            return RTC.content
        RTC.content = content
class Machine:
    DEEPSLEEP_RESET, cause = 4, 1
    RTC = RTC
    def reset_cause(): return Machine.cause
    def deepsleep(duration): Machine.slept = duration
sys.modules["machine"] = Machine
import asyncio
from fieldloom_agent import drops, sleep
from fieldloom_agent.buffer import Buffer
from fieldloom_agent.clock import Clock
from fieldloom_contract import topics
class Link:
    async def part(self): Connection.parted.append("parted")
class Connection:
    up_since, session, speaker, link, parted = None, "s", None, Link(), []
    async def publish(self, verb, payload): Connection.parted.append([verb, json.loads(payload)])
class Settings:
    sleep = {"every": 600000, "awake": 2000}
class Board:
    settings = Settings
    def __init__(self, boot, following=1):
        self.boot, self.clock, self.connection = boot, Clock(), Connection()
        self.buffer = Buffer(boot, 9, False, following)
        self.busy, self.trial, self.trying, self.faulty, self.woke_at = set(), None, None, set(), 0
"""


def test_waking_goes_on_with_numbers_and_time_and_any_other_start_does_not():
    script = """
board = Board(7)
board.clock.learn(1800000000000)
for number in range(5):
    board.buffer.append(topics.TELEMETRY, {"v": number})
board.faulty.add("climate")
board.connection.up_since = 0
asyncio.run(sleep.go(board))
nothing = sleep.woken()
Machine.cause = 4
known = sleep.woken()
again = Board(known["boot"], known["next"])
sleep.go_on(again, known)
again.buffer.append(topics.TELEMETRY, {"v": 5})
held = [[item.life, item.seq] for item in again.buffer.peek(None, 100, 1 << 20)]
field, at = again.clock.stamp()
RTC.content = b"garbage"
print(json.dumps([nothing, held, field, 0 <= at - 1800000000000 < 60000, list(again.faulty), Machine.slept,
    Connection.parted, sleep.woken()]))
"""
    nothing, held, field, is_on_time, faulty, slept, parted, after = json.loads(run(IMPORTS, script).splitlines()[-1])

    assert (nothing, after) == (None, None)
    assert held == [[7, seq] for seq in range(1, 7)]
    assert (field, is_on_time, faulty) == ("ts", True, ["climate"])
    assert 590_000 < slept <= 600_000
    told = {"every": 600_000, "awake": 2000, "for": slept}
    assert parted == [["state", {"online": False, "boot": 7, "session": "s", "sleep": told}], "parted"]


CASES = {
    "just reached a gateway": ("board.connection.up_since = 9000", False),
    "awake for long enough": ("board.connection.up_since = 7000", True),
    "something is being done": ("board.connection.up_since = 0; board.busy.add('update')", False),
    "settings are on trial": ("board.connection.up_since = 0; board.trial = (1,)", False),
    "a certificate is on trial": ("board.connection.up_since = 0; board.trying = 'next'", False),
    "records are not acknowledged": ("board.connection.up_since = 0; board.buffer.append(topics.EVENT, {})", False),
    "no gateway yet": ("", False),
    "no gateway for a minute": ("board.woke_at = -60000", True),
}


@pytest.mark.parametrize("case", CASES)
def test_a_board_sleeps_when_all_is_done_or_nobody_is_there(case):
    given, expected = CASES[case]
    script = f"""
board = Board(7)
board.clock.go_on(10000, None, 0)
{given}
print(json.dumps(sleep.is_due(board)))
"""
    assert json.loads(run(IMPORTS, script)) is expected
