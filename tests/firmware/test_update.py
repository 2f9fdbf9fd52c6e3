"""Updates over the air, whole lives of a board on the real VM: all end on the old or the new release. (F5, F3)

The board runs the firmware that the builder made, from boot.py on; its gateway is the contract's other half in memory.
"""

import json

import pytest

from fieldloom_build import romfs
from firmware.releases import BOARD, LARGE, LARGE_BYTES, Maker, put
from fixtures.micropython import ROOT, run_on_micropython

OLD, NEW = f"{BOARD}-1.0.0", f"{BOARD}-1.1.0"
PRELUDE = f"""
sys.path.insert(0, {str(ROOT / "tests/firmware")!r})
import json, os, lives
files, releases = lives.world(sys.argv[-1])
flash, gateway = lives.Flash(), lives.Gateway(releases)
board = lives.Board(flash, files)
def run(kind, **parameters):
    name = gateway.command(kind, **parameters)
    assert board.live_on(gateway, lambda: gateway.result(name)), gateway.records
    return name
def tell(name):
    print(json.dumps(lives.told(board, gateway, releases, name)))
"""
UPDATE = f"tell(run('update', release={NEW!r}))"
DOCUMENTS = ["key", "key.sig", "manifest.sig", "manifest"]


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def play(maker, tmp_path):
    """Run a script with a board that was flashed with 1.0.0 and releases by their ids; return what it told last."""

    def run(releases, script=UPDATE, board=None, in_rom=False):
        files = maker.flashed("1.0.0") if board is None else board
        if in_rom:
            rom, files = romfs.parted(files)
            (tmp_path / "rom.img").write_bytes(romfs.rom_image(rom))
        put(tmp_path / "board", files)
        for name, files in {OLD: maker.make("1.0.0"), **releases}.items():
            put(tmp_path / "releases" / name, files)
        said = run_on_micropython(PRELUDE + script, str(tmp_path), heap="16m")
        return json.loads(said.splitlines()[-1])

    return run


def test_a_good_release_is_brought_tried_and_kept_and_what_is_unchanged_is_not_sent(play, maker):
    release = maker.make("1.1.0", large=True)

    told = play({NEW: release})

    assert (told["runs"], told["status"], told["lives"]) == (NEW, "succeeded", 2)
    assert told["events"] == [
        ["update.started", {"release": NEW, "files": 2, "bytes": LARGE_BYTES + len(release["files/release.json"])}],
        ["update.trial", {"release": NEW}],
        ["update.installed", {"release": NEW, "from": OLD}],
    ]
    sent = {*DOCUMENTS, f"files/{LARGE}", "files/release.json"}
    assert set(told["requested"]) == sent
    assert told["bytes"] == sum(len(release[name]) for name in sent)
    assert told["slots"] == {"run": "b", "spare": OLD}


def spoilt(release, name, content):
    return release | {name: content}


def turned(content, at=-1):
    return content[:at] + bytes([content[at] ^ 1]) + (content[at + 1 :] if at != -1 else b"")


UNTRUSTED = {
    "a wrong signature": (
        lambda m, good: spoilt(good, "manifest.sig", turned(good["manifest.sig"])),
        "manifest: is not signed by its release key",
    ),
    "a manifest changed": (
        lambda m, good: spoilt(good, "manifest", good["manifest"].replace(b"expires 2", b"expires 3")),
        "manifest: is not signed by its release key",
    ),
    "another root": (
        lambda m, good: m.make("1.1.0", m.key(root="stranger")),
        "key: is not signed by the root that this board knows",
    ),
    "a key changed": (
        lambda m, good: spoilt(good, "key", good["key"].replace(b"serial 1", b"serial 9")),
        "key: is not signed by the root that this board knows",
    ),
    "a key that has expired": (lambda m, good: good | expired_key(m), "key: has expired"),
    "a manifest that has expired": (lambda m, good: m.make("1.1.0", expires=1_799_999_999), "manifest: has expired"),
    "a file cut off": (
        lambda m, good: spoilt(good, f"files/{LARGE}", good[f"files/{LARGE}"][:-1]),
        f"files/{LARGE}: has 39999 bytes at the gateway, and 40000 by its manifest",
    ),
    "a file with other content": (
        lambda m, good: spoilt(good, f"files/{LARGE}", turned(good[f"files/{LARGE}"], 20_000)),
        f"{LARGE}: has another SHA-256 than its manifest tells",
    ),
    "a manifest of another release": (
        lambda m, good: m.make("1.2.0"),
        f"manifest: is that of {BOARD}-1.2.0",
    ),
    "a manifest that is too long": (
        lambda m, good: spoilt(good, "manifest", good["manifest"] + b"x" * 32768),
        "manifest: is longer than 32768 bytes",
    ),
    "a signature that is missing": (
        lambda m, good: {name: content for name, content in good.items() if name != "key.sig"},
        "key.sig: no such release",
    ),
}


def expired_key(maker):
    """What a key of a month ago has signed: the builder refuses to."""
    key = maker.key(expires=1_799_999_999)
    release = maker.make("1.1.0", maker.key(), large=True)
    return {"key": key.document, "key.sig": key.signature, "manifest.sig": key.sign(release["manifest"])}


@pytest.mark.parametrize("case", UNTRUSTED)
def test_what_can_not_be_trusted_ends_on_the_old_release_with_its_reason(play, maker, case):
    spoil, reason = UNTRUSTED[case]

    told = play({NEW: spoil(maker, maker.make("1.1.0", large=True))})

    assert (told["runs"], told["status"], told["error"]) == (OLD, "failed", reason)
    assert told["events"][-1] == ["update.failed", {"release": NEW, "reason": reason}]
    assert told["lives"] == 1
    assert told["slots"] == {"run": "a"}


def test_a_release_of_a_key_that_was_replaced_is_refused(play, maker):
    releases = {NEW: maker.make("1.1.0", maker.key(serial=2)), f"{BOARD}-1.2.0": maker.make("1.2.0", maker.key())}

    told = play(releases, f"run('update', release={NEW!r})\ntell(run('update', release='{BOARD}-1.2.0'))")

    assert (told["runs"], told["status"]) == (NEW, "failed")
    assert told["error"] == "key: has serial 1, and 2 has replaced it"


def test_a_release_below_the_floor_is_refused_and_so_is_the_way_back_to_one(play, maker):
    below = f"{BOARD}-1.0.9"
    releases = {NEW: maker.make("1.1.0", floor="1.1.0"), below: maker.make("1.0.9")}

    update = play(releases, f"run('update', release={NEW!r})\ntell(run('update', release={below!r}))")
    back = play(releases, f"run('update', release={NEW!r})\ntell(run('rollback'))")

    reason = "version: is below 1.1.0, the oldest that this board takes"
    assert (update["runs"], update["status"], update["error"]) == (NEW, "failed", reason)
    assert (back["runs"], back["status"], back["error"]) == (NEW, "rejected", reason)


@pytest.mark.parametrize(
    ("wanted", "board", "reason"),
    [
        ("esp32-c3-devkitm-1.1.0", {}, f"release: esp32-c3-devkitm-1.1.0 is not for this board, which is {BOARD}"),
        ("1.1.0", {}, f"release: 1.1.0 is not for this board, which is {BOARD}"),
        (NEW, {"root": False}, "release: can't be trusted: this board has no release root"),
        (NEW, {"board": None}, "release: can't be checked: this board was not told what it is"),
    ],
)
def test_what_is_not_for_this_board_is_rejected_before_anything_is_asked_for(play, maker, wanted, board, reason):
    told = play({NEW: maker.make("1.1.0")}, f"tell(run('update', release={wanted!r}))", maker.flashed("1.0.0", **board))

    assert (told["runs"], told["status"]) == (OLD, "rejected")
    assert told["error"].startswith(reason)
    assert told["requested"] == []


BROKEN = {
    "crashes at its import": ({"agent": "import nowhere\n"}, "ImportError(\"no module named 'nowhere'\""),
    "crashes at its start": ({"agent": "def main():\n    raise OSError(5)\n"}, "OSError(5,)"),
    "crashes in the midst": (
        {"boots": "def next_boot():\n    return {}['x']\n"},
        "KeyError('x',)",
    ),
    "hangs at its start": (
        {"agent": "import time\ndef main():\n    while True:\n        time.sleep(1)\n"},
        "hung until the watchdog reset it",
    ),
    "can't keep itself": (
        {"trust": "def raise_floor(folder):\n    raise OSError(28)\n"},
        "OSError(28,)",
    ),
    "resets at its start": (
        {"agent": "import machine\ndef main():\n    machine.reset()\n"},
        "was reset, or lost its power, in its trial",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_release_that_does_not_run_is_left_again_with_the_reason(play, maker, case):
    changed, reason = BROKEN[case]

    told = play({NEW: maker.make("1.1.0", **changed)})

    assert (told["runs"], told["status"], told["lives"]) == (OLD, "failed", 3)
    assert told["error"].startswith(reason)
    assert told["events"][-1][0] == "update.rolled_back"
    assert told["events"][-1][1]["release"] == NEW
    assert told["slots"] == {"run": "a"}


def test_silence_after_an_update_is_a_failure(play, maker):
    told = play({NEW: maker.make("1.1.0")}, f"gateway.deaf_to = ('1.1.0',)\n{UPDATE}")

    assert (told["runs"], told["status"], told["lives"]) == (OLD, "failed", 3)
    assert told["error"] == "trial: no record was acknowledged within 120 s"
    assert told["events"][-1][0] == "update.rolled_back"


def test_a_link_that_breaks_and_loses_chunks_costs_only_what_was_lost(play, maker):
    release = maker.make("1.1.0", large=True)

    told = play({NEW: release}, f"gateway.breaks, gateway.drops = [3000, 20000, 30000], 7\n{UPDATE}")

    whole = sum(len(release[name]) for name in (*DOCUMENTS, f"files/{LARGE}", "files/release.json"))
    assert (told["runs"], told["status"], told["lives"]) == (NEW, "succeeded", 2)
    assert whole < told["bytes"] < whole + 8 * 8192


def test_a_reset_in_a_download_goes_on_where_it_was(play, maker):
    release = maker.make("1.1.0", large=True)
    script = f"""
name = gateway.command("update", release={NEW!r})
for reached in (20000, 33000):
    assert board.live(gateway, lambda: gateway.sent >= reached) is None
assert board.live_on(gateway, lambda: gateway.result(name))
tell(name)
"""
    told = play({NEW: release}, script)

    whole = sum(len(release[name]) for name in (*DOCUMENTS, f"files/{LARGE}", "files/release.json"))
    assert (told["runs"], told["status"], told["lives"]) == (NEW, "succeeded", 4)
    assert whole < told["bytes"] <= whole + 2 * 8192
    assert [kind for kind, _ in told["events"]].count("update.started") >= 2  # one in RAM goes with the power


def test_a_release_that_the_gateway_does_not_have_is_asked_for_some_minutes(play, maker):
    told = play({NEW: maker.make("1.1.0")}, f"gateway.refusal = 'the cloud is away'\n{UPDATE}")
    later = play(
        {NEW: maker.make("1.1.0")},
        f"""
gateway.refusal = "the cloud is away"
name = gateway.command("update", release={NEW!r})
assert board.live(gateway, lambda: len(gateway.requested) > 4) is None
gateway.refusal = None
assert board.live_on(gateway, lambda: gateway.result(name))
tell(name)
""",
    )

    assert (told["runs"], told["status"], told["error"]) == (OLD, "failed", "key: the cloud is away")
    assert told["requested"] == ["key"] * 12
    assert (later["runs"], later["status"]) == (NEW, "succeeded")


def test_a_board_without_room_says_how_much_is_missing(play, maker):
    script = f"""
with open("/own.bin", "wb") as file:
    for _ in range(110):
        file.write(b"x" * 4096)
{UPDATE}
"""
    told = play({NEW: maker.make("1.1.0")}, script)

    assert (told["runs"], told["status"]) == (OLD, "failed")
    assert "KB more and the board has" in told["error"]


def test_a_rollback_goes_to_the_other_slot_without_a_download(play, maker):
    script = f"""
run("update", release={NEW!r})
sent = gateway.sent
name = run("rollback")
assert gateway.sent == sent
tell(name)
"""
    told = play({NEW: maker.make("1.1.0")}, script)

    assert (told["runs"], told["status"], told["lives"]) == (OLD, "succeeded", 4)
    assert told["events"][-1] == ["update.rolled_back", {"release": OLD, "from": NEW}]
    assert told["slots"] == {"run": "a", "spare": NEW}


def test_a_board_whose_release_is_in_its_rom_is_updated_and_goes_back_to_it(play, maker):
    release = maker.make("1.1.0", large=True)
    back = f"run('update', release={NEW!r})\ntell(run('rollback'))"

    updated = play({NEW: release}, in_rom=True)
    returned = play({NEW: release}, back, in_rom=True)

    assert (updated["runs"], updated["status"]) == (NEW, "succeeded")
    assert set(updated["requested"]) == {*DOCUMENTS, f"files/{LARGE}", "files/release.json"}  # the rest is the ROM's
    assert (returned["runs"], returned["status"]) == (OLD, "succeeded")
    assert returned["slots"] == {"run": "a", "spare": NEW}


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("", "slot: the other slot holds no release that has run here"),
        (
            f"run('update', release={NEW!r})\nrun('rollback')\nopen('/b/lib/fieldloom_agent/link.mpy', 'wb').close()",
            "slot: the release in the other slot is damaged",
        ),
    ],
)
def test_a_rollback_to_nothing_that_works_is_rejected(play, maker, before, reason):
    told = play({NEW: maker.make("1.1.0")}, f"{before}\ntell(run('rollback'))")

    assert (told["runs"], told["status"], told["error"]) == (OLD, "rejected", reason)


def test_one_update_at_a_time_and_the_one_that_runs_is_none(play, maker):
    script = f"""
gateway.breaks = [10000]
first = gateway.command("update", release={NEW!r})
second = gateway.command("update", release="{BOARD}-1.2.0")
third = gateway.command("rollback")
assert board.live_on(gateway, lambda: gateway.result(first))
again = run("update", release={NEW!r})
print(json.dumps([gateway.result(name) for name in (first, second, third, again)]))
"""
    first, second, third, again = play({NEW: maker.make("1.1.0", large=True)}, script)

    assert first["status"] == "succeeded"
    for other in (second, third):
        assert (other["status"], other["error"]) == ("rejected", f"release: the update to {NEW} is still under way")
    assert again["result"] == {"release": NEW, "unchanged": True}


@pytest.mark.parametrize(("free", "fits"), [(LARGE_BYTES // 4096 + 2, True), (LARGE_BYTES // 4096 + 1, False)])
def test_an_update_that_goes_on_needs_the_room_beside_files_for_those_alone_that_are_missing(
    maker, tmp_path, free, fits
):
    release = maker.make("1.1.0", large=True)
    put(tmp_path, {name.removeprefix("files/"): body for name, body in release.items() if name != f"files/{LARGE}"})
    script = f"""
sys.path.insert(0, {str(ROOT / "firmware")!r})
from fieldloom_agent import spare
class Flash:
    def statvfs(self, _):
        return 4096, 4096, 0, {free}
spare.os = Flash()
try:
    spare.check_room(sys.argv[-1])
    print("fits")
except Exception as error:
    print(error)
"""

    said = run_on_micropython(script, str(tmp_path))

    assert (said.strip() == "fits") == fits, said


@pytest.mark.parametrize(("had", "fits"), [(0, False), (100_000, True)])
def test_a_file_in_progress_needs_room_for_its_rest_alone(maker, tmp_path, had, fits):
    release = maker.make("1.1.0", large=True)
    put(tmp_path, {"manifest": release["manifest"].replace(f" {LARGE_BYTES} ".encode(), b" 150000 ")})
    script = """
sys.path.insert(0, FIRMWARE)
from fieldloom_agent import content, spare
class Flash:  # with 20 blocks for the large file, which takes 37
    def statvfs(self, _):
        return 4096, 4096, 0, free
slot = sys.argv[-1]
entries = list(content.entries(slot))
large = [entry for entry in entries if entry.size == 150000]
others = sum([entry.size // 4096 + 1 for entry in entries if entry.size != 150000])
with open(slot + "/" + content.part(large[0]), "wb") as file:
    file.write(bytes(HAD))
free, spare.os = others + spare.SPARE_BLOCKS + 20, Flash()
try:
    spare.check_room(slot)
    print("fits")
except Exception as error:
    print(error)
"""
    script = script.replace("FIRMWARE", repr(str(ROOT / "firmware"))).replace("HAD", str(had))

    said = run_on_micropython(script, str(tmp_path))

    assert (said.strip() == "fits") == fits, said
