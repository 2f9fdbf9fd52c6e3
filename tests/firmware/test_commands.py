"""Commands on the real VM: executed once, whatever is repeated and whenever the power goes. (F3, A2, A3)"""

import json

from firmware.vm import run

IMPORTS = """
sys.path.append("")
from fieldloom_agent import actions, commands, endings, journal, networks
from fieldloom_contract.errors import Rejected
"""
SETTING = """
told, done = [], []
class Cut(BaseException):
    pass
def act(board, parameters):
    done.append(parameters["n"])
def fail(board, parameters):
    raise OSError("stuck")
def refuse(board, parameters):
    raise Rejected("value", "must be true or false")
def cut(board, parameters):
    raise Cut()
def reboot(board, parameters):
    return actions.PENDING
actions.TABLE.update({"act": act, "fail": fail, "refuse": refuse, "cut": cut, "reboot": reboot})
class Board:
    class clock:
        def now():
            return 1000
    def report(*result):
        told.append(list(result))
def take(name, kind, n=0, expires=2000):
    commands.take(Board, {"id": name, "type": kind, "parameters": {"n": n}, "expires": expires})
def resume():
    endings.resume(Board, False)
resume()
"""


def results(script):
    return json.loads(run(IMPORTS, SETTING + script + "\nprint(json.dumps([told, done]))"))


def test_a_repeated_id_is_answered_with_what_happened_and_not_executed_again():
    told, done = results("""
for _ in range(2):
    take("a", "act", 5)
take("a", "act", 5)
""")

    assert done == [5]
    assert told == [["a", "accepted", None, None]] + [["a", "succeeded", None, None]] * 3


def test_what_a_reset_interrupts_has_failed_but_a_reboot_has_succeeded():
    told, _ = results("""
try:
    take("a", "cut")
except Cut:
    pass
take("b", "reboot")
take("b", "reboot")
resume()
resume()
""")

    assert told[2:] == [["a", "failed", None, "interrupted"], ["b", "succeeded", None, None]]


def test_what_can_not_be_done_is_told_with_its_reason():
    told, done = results("""
take("a", "fly")
take("b", "refuse")
take("c", "fail")
take("d", "act", expires=999)
""")

    assert done == []
    assert told == [
        ["a", "rejected", None, "type: fly is not known to this board"],
        ["b", "accepted", None, None],
        ["b", "rejected", None, "value: must be true or false"],
        ["c", "accepted", None, None],
        ["c", "failed", None, "OSError('stuck',)"],
        ["d", "expired", None, None],
    ]


def test_the_newest_64_ids_are_remembered():
    told, done = results("""
for number in range(70):
    take("c%d" % number, "act", number)
for number in range(6, 70):
    take("c%d" % number, "act", number)
""")

    assert done == list(range(70))
    assert len(told) == 140 + 64
