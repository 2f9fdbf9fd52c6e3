"""The power is cut at every flash operation of a first boot, a command, an update and a rollback. (F5, F3)

Each cut comes before the operation, after its first or second half, or leaves garbage. Afterwards the board starts, the
release that it runs is the old or the new one byte for byte, and its boot number is none that was used before. After
one cut of each operation at least it lives on, to the command's end. A slice here, every cut in `make chaos`.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from fieldloom_build import romfs
from firmware.releases import BOARD, Maker, put
from fixtures.micropython import ROOT, run_on_micropython

SCRIPT = f"""
sys.path.insert(0, {str(ROOT / "tests/firmware")!r})
import json, power_cuts
power_cuts.run(sys.argv[-4], json.loads(sys.argv[-3]), int(sys.argv[-2]), sys.argv[-1] == "thoroughly")
"""
# Every n-th cut; an odd number takes all kinds of cuts in turn.
SLICE = {"first boot": 5, "command": 5, "update": 149, "rollback": 9}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    maker = Maker(folder)
    put(folder / "board", maker.flashed("1.0.0"))
    put(folder / "releases" / f"{BOARD}-1.0.0", maker.make("1.0.0"))
    put(folder / "releases" / f"{BOARD}-1.1.0", maker.make("1.1.0", large=True))
    return folder


def cut(world, steps, first=0, how="thoroughly", seconds=240):
    said = run_on_micropython(SCRIPT, str(world), json.dumps(steps), str(first), how, heap="96m", seconds=seconds)
    return json.loads(said.splitlines()[-1])


@pytest.fixture(scope="module")
def world_in_rom(tmp_path_factory, world):
    folder = tmp_path_factory.mktemp("world-in-rom")
    board = {str(path.relative_to(world / "board")): path.read_bytes() for path in files_of(world / "board")}
    rom, files = romfs.parted({f"/{path}": content for path, content in board.items()})
    (folder / "rom.img").write_bytes(romfs.rom_image(rom))
    put(folder / "board", files)
    (folder / "releases").symlink_to(world / "releases")
    return folder


def files_of(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def report(capsys, operations, cuts, faults):
    with capsys.disabled():
        print(f"\n{operations} flash operations: {cuts} cut points, {len(faults)} bricked")


def test_a_board_survives_cuts_in_all_that_it_writes(world, capsys):
    told = cut(world, SLICE)

    report(capsys, sum(told["operations"].values()), told["cuts"], told["faults"])
    assert told["faults"] == []
    assert told["cuts"] > 60
    assert told["operations"]["update"] > 1000


def test_a_board_whose_release_is_in_its_rom_survives_them_too(world_in_rom, capsys):
    told = cut(world_in_rom, {"update": 997, "rollback": 29})

    report(capsys, sum(told["operations"].values()), told["cuts"], told["faults"])
    assert told["faults"] == []
    assert told["cuts"] > 10


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_a_board_survives_every_cut_in_all_that_it_writes(world, capsys):
    shards = os.cpu_count() or 1
    with ThreadPoolExecutor(shards) as pool:
        steps = dict.fromkeys(SLICE, shards)
        told = list(pool.map(lambda shard: cut(world, steps, shard, "once", 7000), range(shards)))

    operations, cuts = sum(told[0]["operations"].values()), sum(one["cuts"] for one in told)
    faults = [fault for one in told for fault in one["faults"]]
    report(capsys, operations, cuts, faults)
    assert faults == []
    assert cuts >= 4 * operations


def test_the_fault_that_this_is_for_is_found(tmp_path):
    """A board that updates the very slot that it runs."""
    maker = Maker(tmp_path / "keys")
    board = maker.flashed("1.0.0")
    source = (ROOT / "firmware/fieldloom_agent/slots.py").read_text()
    in_place = source.replace('return "b" if slot == "a" else "a"', "return slot")
    assert in_place != source
    board |= {"/a/" + path: content for path, content in maker.contents("1.0.0", slots=in_place).items()}
    put(tmp_path / "board", board)
    put(tmp_path / "releases" / f"{BOARD}-1.0.0", maker.make("1.0.0", slots=in_place))
    put(tmp_path / "releases" / f"{BOARD}-1.1.0", maker.make("1.1.0", large=True, slots=in_place))

    faults = cut(tmp_path, {"update": 29})["faults"]

    assert [fault for fault in faults if fault.endswith("bricked")]
