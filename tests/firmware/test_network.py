"""A change of network settings on the real VM: whole or not at all, and its result says which. (F11, F3)"""

import json

import pytest

from firmware.vm import run

IMPORTS = """
from fieldloom_agent import endings, journal, network, networks, settings
from fieldloom_contract.errors import Rejected
WANTED = {"wifi": {"ssid": "new", "key": "secret"}, "gateways": [{"id": "gw.new", "host": "new", "port": 8883}]}
settings.SLOT = ""
class Wifi:
    def leave():
        pass
sys.modules["fieldloom_agent.wifi"] = Wifi
class Clock:
    now = 0
    def up(): return Clock.now
class Connection:
    def leave(): pass
    def retry(): pass
    def gateway(): return board.settings.gateways[0]
class Board:
    connection, clock = Connection, Clock
    def __init__(self):
        self.trial = self.trying = None
        self.told, self.settings = [], settings.load()
    def report(self, *result):
        self.told.append(list(result))
def prepare():
    with open("/config.json", "w") as file:
        json.dump({"device": "board-1", "type": "climate", "interval": 1000, "wifi": {"ssid": "old"},
            "gateways": [{"id": "gw.old", "host": "old", "port": 8883}]}, file)
    with open("/release.json", "w") as file:
        json.dump({"version": "1", "built": 0}, file)
    for _ in journal.entries():
        pass
def network_of(found):
    return [found.wifi, found.gateways]
"""


def test_a_power_cut_at_any_write_leaves_the_old_or_the_new_settings_and_a_result_that_says_which():
    script = """
prepare()
old = network_of(settings.load())
new = [WANTED["wifi"], WANTED["gateways"]]
cut, outcomes = 0, {}
while True:
    flash = Flash(64)
    mount(flash)
    prepare()
    board = Board()
    journal.write({"number": 0, "id": "c1", "type": "set_network", "status": None})
    flash.cut_after = cut
    try:
        network.begin(board, WANTED)
        network.keep(board)
    except OSError:
        pass
    if flash.cut_after >= 0:
        break
    flash.cut_after = None
    mount(flash, fresh=False)
    again = Board()
    endings.resume(again, False)
    entry, _ = journal.find("c1")
    found = network_of(again.settings)
    outcome = "new" if found == new else "old" if found == old else found
    assert entry["status"] == ("succeeded" if outcome == "new" else "failed"), (cut, outcome, entry)
    outcomes[outcome] = outcomes.get(outcome, 0) + 1
    cut += 1
print(json.dumps([cut, outcomes]))
"""
    cuts, outcomes = json.loads(run(IMPORTS, script))

    assert set(outcomes) == {"old", "new"}
    assert cuts == sum(outcomes.values())


def test_a_trial_ends_after_two_minutes_unless_told_otherwise_and_leaves_nothing_on_flash():
    script = """
prepare()
board = Board()
journal.write({"number": 0, "id": "c1", "type": "set_network", "status": None})
network.begin(board, WANTED)
during = network_of(board.settings)
until = board.trial[0]
network.back(board)
print(json.dumps([until, during[1][0]["id"], network_of(board.settings)[1][0]["id"], board.told, os.listdir("/")]))
"""
    until, during, after, told, files = json.loads(run(IMPORTS, script))

    assert until == 120_000
    assert (during, after) == ("gw.new", "gw.old")
    assert told == [["c1", "failed", None, "no gateway was reached with them in 120 s"]]
    assert "settings.json" not in files


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"wifi": {"key": "x"}}, "ssid: must be a text of 1 to 32 characters"),
        ({"wifi": 7}, "wifi: must be an object"),
        ({"address": {"ip": "10.0.0.300"}}, "address.ip: must be an address, as 192.168.1.20"),
        ({"gateways": ["gw.site1"]}, "gateways: must hold objects of id, host and port"),
        ({"gateways": [{"id": "gw.1", "host": "h", "port": 0}]}, "port: must be from 1 to 65535"),
        ({"wifi": None, "timeout": 1}, "timeout: must be from 5000 to 3600000"),
    ],
)
def test_what_no_board_could_use_is_refused_before_it_is_tried(wanted, reason):
    script = f"""
prepare()
board = Board()
try:
    network.begin(board, {wanted!r})
except Rejected as error:
    print(error, board.trial, network_of(board.settings)[1][0]["id"])
"""
    assert run(IMPORTS, script).strip() == f"{reason} None gw.old"
