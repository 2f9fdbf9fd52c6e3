"""The firmware's buffer and flash log on the real VM, over LittleFS: power cuts, a full log, damage. (F2)"""

import json

import pytest

from firmware.vm import run

IMPORTS = """
from fieldloom_agent import drops
from fieldloom_agent.buffer import Buffer
from fieldloom_agent.log import Log
from fieldloom_contract import topics
"""

MODEL = """
def held(buffer):
    return [(item.life, item.seq, json.loads(item.body)["v"]) for item in buffer.peek(None, 100000, 1 << 30)]

rng_seed, newest = int(sys.argv[1]), sys.argv[2] == "newest"
random.seed(rng_seed)
boot, value = 1, 0
buffer, expected, everything = Buffer(boot, 6, newest), [], []
for step in range(400):
    choice = random.randrange(100)
    if choice < 70:
        value += 1
        buffer.append(topics.TELEMETRY, {"v": value, "pad": "x" * random.randrange(300)})
        expected.append((boot, buffer.next - 1, value))
        everything.append(expected[-1])
    elif choice < 75:
        buffer.flush()
    elif choice < 90 and expected:
        life, seq, _ = expected[random.randrange(len(expected))]
        freed = buffer.discard(life, seq)
        kept = [one for one in expected if one[0] != life or one[1] > seq]
        assert freed == len(expected) - len(kept), (freed, len(expected) - len(kept))
        expected = kept
    elif choice < 93:
        in_ram = buffer.waiting_in_ram()
        cut = expected[len(expected) - in_ram:] if in_ram else []
        assert all(one[0] == boot for one in cut)
        expected = expected[:len(expected) - in_ram]
        boot += 1
        known = list(buffer.dropped)
        buffer = Buffer(boot, 6, newest)
        told = lambda drops: sum([last + 1 - first for _, first, last, _ in drops])
        if newest:  # single drops in a row are written now and then
            assert told(known) - 64 < told(buffer.dropped) <= told(known)
        else:
            assert buffer.dropped == known
        # A page of which a part was acknowledged comes back whole: its records are sent again, and are duplicates.
        back = held(buffer)
        assert all(one in back for one in expected) and all(one in everything for one in back)
        expected = back
    for life, first, last, reason in buffer.dropped:
        assert reason == "full"
        expected = [one for one in expected if one[0] != life or not first <= one[1] <= last]
    now = held(buffer)
    assert now == expected, (step, now[:3], expected[:3], len(now), len(expected))
    for life in (boot - 1, boot):
        firsts = [seq for owner, seq, _ in expected if owner == life]
        assert buffer.first(life) == (firsts[0] if firsts else None)
    if expected:
        at = random.randrange(len(expected))
        after = [(item.life, item.seq) for item in buffer.peek(expected[at][:2], 5, 1 << 30)]
        assert after == [one[:2] for one in expected[at + 1:at + 6]], (step, after)
print("ok", len(buffer.dropped))
"""


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("policy", ["oldest", "newest"])
def test_the_buffer_holds_what_a_model_holds_over_restarts_and_a_full_log(seed, policy):
    assert run(IMPORTS, MODEL, str(seed), policy).startswith("ok")


def test_with_newest_first_the_oldest_stay_and_drops_are_told_once_there_is_room():
    script = """
buffer = Buffer(7, 2, True)
for number in range(100):
    buffer.append(topics.TELEMETRY, {"v": number, "pad": "x" * 200})
    if number % 10 == 9:
        buffer.flush()
kept = [item.seq for item in buffer.peek(None, 1000, 1 << 30)]
buffer.report_drops(lambda: ("ts", 5))
full = list(buffer.dropped)
buffer.discard(7, kept[-1])
buffer.append(topics.TELEMETRY, {"v": 100})
buffer.report_drops(lambda: ("ts", 5))
told = [json.loads(item.body) for item in buffer.peek(None, 1000, 1 << 30)]
print(json.dumps([kept, full, buffer.dropped, told, buffer.lost, buffer.waiting()]))
"""
    kept, full, after, told, lost, waiting = json.loads(run(IMPORTS, script))

    assert kept == list(range(1, len(kept) + 1))
    assert full == [[7, len(kept) + 1, 100, "full"]]
    assert after == []
    assert [record["seq"] for record in told] == [101, 102]
    assert told[1]["data"] == {"boot": 7, "from": len(kept) + 1, "to": 100, "reason": "full"}
    assert (lost, waiting) == (100 - len(kept), 2)


@pytest.mark.parametrize("policy", ["oldest", "newest"])
def test_what_a_flash_without_room_can_not_hold_is_told(policy):
    script = """
flash = Flash(12)
mount(flash)
with open("/junk", "wb") as file:
    for _ in range(5):
        file.write(b"x" * 4096)
buffer = Buffer(7, 100, sys.argv[1] == "newest")
for number in range(100):
    buffer.append(topics.TELEMETRY, {"v": number, "pad": "x" * 200})
os.remove("/junk")
kept = [item.seq for item in buffer.peek(None, 1000, 1 << 30)]
buffer.report_drops(lambda: ("ts", 5))
told = [json.loads(item.body)["data"] for item in buffer.peek(None, 1000, 1 << 30) if item.kind == topics.EVENT]
print(json.dumps([kept, told]))
"""
    kept, told = json.loads(run(IMPORTS, script, policy))

    gone = [seq for span in told for seq in range(span["from"], span["to"] + 1)]
    assert gone
    assert sorted(kept + gone) == list(range(1, 101))
    assert {span["reason"] for span in told} == {"full"}


def test_what_has_no_room_before_a_reset_is_told_after_it():
    script = """
buffer = Buffer(7, 2, True)
for number in range(100):
    buffer.append(topics.TELEMETRY, {"v": number, "pad": "x" * 200})
in_ram = buffer.waiting_in_ram()
buffer.flush(is_end=True)
again = Buffer(8, 2, True)
kept = [item.seq for item in again.peek(None, 1000, 1 << 30)]
print(json.dumps([in_ram, kept, again.dropped]))
"""
    in_ram, kept, dropped = json.loads(run(IMPORTS, script))

    gone = {seq for _, first, last, _ in dropped for seq in range(first, last + 1)}
    assert in_ram > 0
    assert set(range(len(kept) + 1, len(kept) + in_ram + 1)) <= gone


def test_what_was_dropped_is_told_in_the_stream_and_survives_a_power_cut():
    script = """
buffer = Buffer(7, 2)
for number in range(100):
    buffer.append(topics.TELEMETRY, {"v": number, "pad": "x" * 200})
again = Buffer(8, 9)
again.report_drops(lambda: ("ts", 5))
told = [json.loads(item.body) for item in again.peek(None, 1000, 1 << 30) if item.kind == topics.EVENT]
print(json.dumps([again.dropped, told, again.first(7)]))
"""
    dropped, told, first = json.loads(run(IMPORTS, script))

    assert dropped == []
    assert [event["type"] for event in told] == ["records.dropped"] * len(told)
    assert told[0]["data"]["boot"] == 7
    assert told[0]["data"]["from"] == 1
    assert told[0]["data"]["reason"] == "full"
    assert told[-1]["data"]["to"] == first - 1


def test_a_damaged_page_is_dropped_and_told_and_the_rest_is_kept():
    script = """
buffer = Buffer(7, 9)
for number in range(40):
    buffer.append(topics.TELEMETRY, {"v": number, "pad": "x" * 200})
buffer.flush()
victim = sorted(os.listdir("/log"))[1]
with open("/log/" + victim, "r+b") as file:
    file.seek(100)
    file.write(b"????")
again = Buffer(8, 9)
kept = [item.seq for item in again.peek(None, 1000, 1 << 30)]
print(json.dumps([victim, kept, again.dropped]))
"""
    victim, kept, dropped = json.loads(run(IMPORTS, script))

    _, boot, first, last = (int(part, 16) for part in victim.split("-"))
    assert dropped == [[boot, first, last, "damaged"]]
    assert kept == [seq for seq in range(1, 41) if not first <= seq <= last]


def test_a_power_cut_at_any_flash_operation_loses_no_page_that_was_written():
    script = """
cuts = 0
for cut in range(60):
    flash = Flash(64)
    mount(flash)
    buffer = Buffer(3, 9)
    safe = []
    flash.cut_after = cut
    try:
        for number in range(60):
            buffer.append(topics.TELEMETRY, {"v": number, "pad": "x" * 200})
            if buffer.waiting_in_ram() == 1:
                safe = [seq for seq in range(1, number + 1)]
    except OSError:
        pass
    cuts += flash.cut_after < 0
    flash.cut_after = None
    mount(flash, fresh=False)
    dropped = buffer.dropped
    again = Buffer(4, 9)
    held = [item.seq for item in again.peek(None, 1000, 1 << 30)]
    gone = [seq for _, first, last, _ in dropped for seq in range(first, last + 1)]
    missing = [seq for seq in safe if seq not in held and seq not in gone]
    assert not missing, (cut, missing, held, dropped)
print("ok", cuts)
"""
    said, cuts = run(IMPORTS, script).split()
    assert said == "ok"
    assert int(cuts) >= 40


def test_a_record_that_fits_no_page_is_refused():
    script = """
from fieldloom_contract.errors import Rejected
buffer = Buffer(3, 9)
try:
    buffer.append(topics.EVENT, {"data": "x" * 3000})
except Rejected as error:
    print(error, buffer.next)
"""
    assert run(IMPORTS, script).strip() == "record: is longer than 2048 bytes 1"
