"""Records of gateways in trouble are judged as ever, and each break of a promise in them is found. (V2, V4)"""

import copy

import pytest

from cluster.chaos.clients import DONE, REGISTERS
from cluster.chaos.judge import KEPT, findings, load

KEPT_PROMISES = KEPT / "kept.jsonl.gz"


def of(notes, kind, holds=lambda note: True):
    """Return the notes of a kind for which something holds, of all lives."""
    return [note for all_ in notes.values() for note in all_ if note[0] == kind and holds(note)]


def calls(notes, action):
    """Return by number the calls of an action, as (life, number)."""
    return {(life, note[1]) for life, all_ in notes.items() for note in all_ if note[0] == "call" and note[4] == action}


def watch_leaves_out(notes):
    told = [note for note in notes["gw.b-1"] if note[0] == "told"]
    notes["gw.b-1"].remove(told[len(told) // 2])


def watch_tells_twice(notes):
    told = [note for note in notes["gw.b-1"] if note[0] == "told"]
    notes["gw.b-1"].append(told[len(told) // 2])


def watch_tells_something_else(notes):
    next(note for note in notes["gw.b-1"] if note[0] == "told" and note[2][0][1])[2][0][1] = "other"


def read_is_stale(notes):
    reads = calls(notes, "read")
    answer = next(
        note
        for life, all_ in notes.items()
        for note in all_
        if note[0] == "return" and (life, note[1]) in reads and note[2] is not None
    )
    answer[2] = None


def write_is_lost(notes):
    rests = of(notes, "rest")
    lost = next(key for key in rests[0][3] if key.startswith(REGISTERS))
    for note in rests:
        note[3].pop(lost, None)


def member_differs(notes):
    of(notes, "rest")[-1][3].popitem()


def command_is_executed_twice(notes):
    done = of(notes, "told", lambda note: note[2][-1][0].startswith(DONE))[0]
    last = max(note[1] for note in of(notes, "told"))
    notes["gw.b-1"].append(["told", last + 1, [done[2][-1]]])


def command_is_not_executed(notes):
    for note in of(notes, "rest"):
        note[3] = {key: value for key, value in note[3].items() if not key.startswith(DONE)}


def two_act(notes):
    _, begun, ended, held = of(notes, "holds", lambda note: note[3])[5]
    thief = {partition: version + 1 for partition, version in held.items()}
    for life in ("gw.a-1", "gw.b-1"):
        notes[life].append(["holds", begun - 1, ended - 1, thief])
        notes[life].append(["holds", begun + 1, ended + 1, thief])


def deposed_owner_is_not_refused(notes):
    for note in of(notes, "told", lambda note: note[2][-1][0].startswith(DONE)):
        gateway, version = note[2][-1][1].split()
        note[2][-1][1] = f"{gateway} {int(version) - 1}"


def member_gives_up(notes):
    notes["gw.b-1"].append(["over", "the consensus has failed"])


BREAKS = {
    watch_leaves_out: "gw.b-1: not told",
    watch_tells_twice: "gw.b-1: told twice",
    watch_tells_something_else: "not told",
    read_is_stale: "is not linearizable",
    write_is_lost: "is not linearizable",
    member_differs: "members hold different maps at the end",
    command_is_executed_twice: "executed 2 times",
    command_is_not_executed: "not executed: gw",
    two_act: "two owners at once",
    deposed_owner_is_not_refused: "done by gw",
    member_gives_up: "gw.b-1: the consensus has failed",
}


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.jsonl.gz")), ids=lambda path: path.name.partition(".")[0])
def test_kept_records_are_judged_as_ever(path):
    notes, found = load(path)

    assert findings(notes) == found


@pytest.mark.parametrize(("break_it", "told"), BREAKS.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_a_promise_that_is_broken_is_found(break_it, told):
    notes = copy.deepcopy(load(KEPT_PROMISES)[0])
    break_it(notes)

    assert any(told in one for one in findings(notes)), findings(notes)
