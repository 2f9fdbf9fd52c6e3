"""What a board knows at its start: which life it is, what time it may be. (F2, wire contract)"""

import itertools
import json

from firmware.vm import run


def test_boot_grows_by_one_and_survives_a_damaged_copy():
    script = """
seen = [next_boot() for _ in range(3)]
with open("/boot.a", "wb") as file:
    file.write(b"damaged!")
seen.append(next_boot())
os.remove("/boot.b")
seen.append(next_boot())
print(json.dumps(seen))
"""
    seen = json.loads(run("from fieldloom_agent.boots import next_boot", script))

    assert 2**20 <= seen[0] < 2**30
    assert seen == list(range(seen[0], seen[0] + 5))


def test_an_erased_flash_begins_a_life_that_is_not_the_old_one():
    script = """
lives = set()
for _ in range(20):
    mount(Flash(16))
    lives.add(next_boot())
print(len(lives))
"""
    assert run("from fieldloom_agent.boots import next_boot", script).strip() == "20"


def test_time_grows_strictly_and_is_uptime_before_it_is_known():
    imports = """
class Machine:
    class RTC:
        def datetime(self, parts): Machine.set = parts
sys.modules["machine"] = Machine
from fieldloom_agent import rtc
from fieldloom_agent.clock import Clock
"""
    script = """
clock = Clock()
before = clock.stamp()
clock.learn(1800000000000)
stamps = [clock.stamp() for _ in range(50)]
clock.learn(1700000000000)
stamps += [clock.stamp() for _ in range(50)]
certificate = b"0" * 20 + b"\\x17\\x0d261124120000Z" + b"\\x17\\x0d361124120000Z"
rtc.keep(1700000000000)
with open("/time") as file:
    assert file.read() == "1700000000"
dates = [rtc.certificate_date(certificate, 0), rtc.certificate_date(certificate, 1)]
dates.append(rtc.certificate_date(b"nothing", 0))
print(json.dumps([before, stamps] + dates))
"""
    before, stamps, start, end, none = json.loads(run(imports, script))

    assert before[0] == "up"
    assert {field for field, _ in stamps} == {"ts"}
    times = [ts for _, ts in stamps]
    assert times[0] >= 1_800_000_000_000
    assert all(later > earlier for earlier, later in itertools.pairwise(times))
    assert start == 1795521600
    assert end == 2111140800
    assert none == 0
