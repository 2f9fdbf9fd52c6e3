"""The twin on the real VM: taken key by key, kept before it is told, whatever the power does in between. (F4, R4)"""

import json

from firmware.vm import run

IMPORTS = """
sys.path.append("")
from fieldloom_agent import actions, changes, drivers, journal, networks, overlay, reporting, rtc, settings, twin
from fieldloom_agent.drivers import simulated, switch
from fieldloom_contract import desired
from fieldloom_contract.errors import Rejected
"""
SETTING = """
settings.SLOT = ""
CONFIG = {"device": "dev-1", "type": "climate", "interval": 1000, "led": 2, "report": {"temperature": {"deadband": 1}},
    "gateways": [{"id": name, "host": "here", "port": 1} for name in ("gw.a", "gw.b")]}
def furnish():
    for path, content in (("/config.json", CONFIG), ("/release.json", {"version": "1", "built": 0})):
        with open(path, "w") as file:
            json.dump(content, file)
class Link:
    def leave(self):
        told.append("left")
class Board:
    def __init__(self):
        self.settings = settings.load()
        self.reporting = None
        self.connection = Link()
        self.drivers = {"climate": simulated.Driver({}), "relay": switch.Driver({})}
    def record(self, kind, content):
        assert kind == "twin/reported" and len(json.dumps(content)) < 2048 - 100
        told.append(content)
    def reject(self, topic, field, reason):
        told.append([topic, field, reason])
told = []
furnish()
board = Board()
def take(version, **values):
    twin.take(board, json.dumps({"version": version, "values": values}).encode())
def seen():
    now = board.settings
    return [now.twin, now.interval, now.led, now.report, now.gateways[0]["id"]]
"""


def results(script):
    return json.loads(run(IMPORTS, SETTING + script))


def test_what_is_wanted_is_taken_survives_a_reset_and_goes_back_when_it_is_not():
    before, after, restarted, back, told = results("""
rows = [seen()]
take(4, interval=500, led=7, report={"temperature": {"deadband": 2}}, gateway="gw.b")
rows.append(seen())
board = Board()
rows.append(seen())
take(5, interval=500)
rows.append(seen())
print(json.dumps(rows + [told]))
""")

    assert before == [0, 1000, 2, {"temperature": {"deadband": 1}}, "gw.a"]
    assert after == restarted == [4, 500, 7, {"temperature": {"deadband": 2}}, "gw.b"]
    assert back[:4] == [5, 500, 2, {"temperature": {"deadband": 1}}]
    wanted = {"interval": 500, "led": 7, "report": {"temperature": {"deadband": 2}}, "gateway": "gw.b"}
    assert told == ["left", {"version": 4, "values": wanted}, {"version": 5, "values": {"interval": 500}}]


def test_what_it_can_not_take_is_told_by_path_and_the_rest_is_taken():
    state, told = results("""
take(1, interval=-5, led="red", gateway="gw.c", colour="blue", report={"temperature": {"band": 1}},
    drivers={"climate": {"temperature": 30}, "relay": True, "pump": 1})
take(2, interval=700, drivers={"climate": {"wind": 3}}, report=None)
take(3, drivers=7, report={"x" * 70: {}})
print(json.dumps([seen() + [round(board.drivers["climate"]._temperature)], told]))
""")

    assert state == [3, 1000, 2, {"temperature": {"deadband": 1}}, "gw.a", 30]
    assert told[0] == {
        "version": 1,
        "values": {"drivers": {"climate": {"temperature": 30}}},
        "errors": {
            "interval": "must be from 0 to 86400000",
            "led": "must be a whole number",
            "gateway": "is not in this board's configuration",
            "colour": "is not known to this board",
            "report.temperature.band": "is not known",
            "drivers.relay": "has nothing to set",
            "drivers.pump": "is no driver of this board",
        },
    }
    assert told[1]["values"] == {"interval": 700}
    assert told[1]["errors"] == {
        "drivers.climate": "wind: must be temperature or humidity, a number",
        "report": "must be an object",
    }
    assert told[2]["errors"] == {"drivers": "must be an object", "report": "names have at most 64 characters"}


def test_an_older_version_is_ignored_and_the_same_is_told_again():
    told, interval = results("""
take(4, interval=500)
take(3, interval=100)
take(4, interval=100)
print(json.dumps([told, board.settings.interval]))
""")

    assert told == [{"version": 4, "values": {"interval": 500}}] * 2
    assert interval == 500


def test_a_start_gives_the_drivers_what_is_wanted_and_tells_again():
    told, temperature = results("""
take(4, drivers={"climate": {"temperature": 30}})
board = Board()
twin.resume(board)
print(json.dumps([told, board.drivers["climate"]._temperature]))
""")

    assert told == [{"version": 4, "values": {"drivers": {"climate": {"temperature": 30}}}}] * 2
    assert temperature == 30


def test_a_command_that_sets_otherwise_counts_and_is_told():
    told, restarted = results("""
take(4, interval=500, led=7)
actions.set_interval(board, {"interval": 900})
board = Board()
print(json.dumps([told, seen()]))
""")

    assert told[1] == {"version": 4, "values": {"interval": 900, "led": 7}}
    assert restarted[:3] == [4, 900, 7]


def test_a_long_twin_is_told_in_parts_that_fit_a_page():
    told = results("""
class Anything:
    def set(self, wanted):
        pass
board.drivers.update({"d%d" % number: Anything() for number in range(24)})
parts = {"d%d" % number: "v" * 60 for number in range(22)}
parts["d23"] = "x" * 1400
take(1, drivers=parts, **{"k" * 100: 1})
print(json.dumps(told))
""")

    assert [part.get("more", False) for part in told] == [True] * (len(told) - 1) + [False]
    assert len(told) >= 2
    values = {name: value for part in told for name, value in part["values"].get("drivers", {}).items()}
    assert values == {f"d{number}": "v" * 60 for number in range(22)}
    errors = {path: reason for part in told for path, reason in part.get("errors", {}).items()}
    assert errors == {"drivers.d23": "is too long to be reported", "k" * 64: "is not known to this board"}


def test_a_power_cut_at_any_flash_operation_leaves_the_old_twin_or_the_new_and_tells_of_none_that_is_not_kept():
    """Every operation is cut whole and torn in half; what was reported before the cut is there after it."""
    cuts, olds, news = results("""
cuts = olds = news = 0
class Torn(Flash):
    torn = False
    def writeblocks(self, block, buffer, offset=0):
        if self.torn and self.cut_after == 0:
            start = block * 4096 + offset
            self.memory[start:start + len(buffer) // 2] = buffer[:len(buffer) // 2]
        return Flash.writeblocks(self, block, buffer, offset)
    def ioctl(self, operation, argument):
        if operation == 6:
            if self.cut_after is not None:
                self.cut_after -= 1
                if self.cut_after < 0:
                    return -5
            self.memory[argument * 4096:argument * 4096 + 4096] = b"\\xff" * 4096
        return Flash.ioctl(self, operation, argument)
for torn in (False, True):
    cut = 0
    while True:
        flash = Torn(16)
        flash.torn = torn
        mount(flash)
        furnish()
        board = Board()
        for version in range(1, 4):
            take(version, interval=500, note="n" * 300)
        told.clear()
        flash.cut_after = cut
        for version in range(4, 10):
            take(version, interval=700, note="v" * 300)
            if flash.cut_after < 0:
                break
        was_cut = flash.cut_after < 0
        reported = [one["version"] for one in told if isinstance(one, dict)]
        flash.cut_after = None
        mount(flash, fresh=False)
        board = Board()
        now = seen()
        assert now[0] in range(3, 10) and now[1] == (500 if now[0] == 3 else 700), (cut, now)
        assert now[0] >= max(reported, default=3), (cut, now, reported)
        told.clear()
        twin.report(board)
        assert told[0]["version"] == now[0] and told[0]["values"] == {"interval": now[1]}
        take(10, interval=900)
        assert Board().settings.interval == 900
        olds, news = olds + (now[0] == 3), news + (now[0] > 3)
        if not was_cut:
            break
        cuts += 1
        cut += 1
print(json.dumps([cuts, olds, news]))
""")

    print(f"{cuts} cut points, 0 bricked")
    assert cuts >= 40
    assert min(olds, news) > 0
