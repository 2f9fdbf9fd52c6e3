"""What the simulators of others get, checked as far as it goes without them: neither was at hand. (F8)"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema_rs
import littlefs
import pytest
import yaml

from fieldloom_build import boards, flash, image, partitions, release, wokwi
from fieldloom_contract.errors import Rejected
from firmware.vm import run
from fixtures.certificates import TestAuthority

FIELDLOOM = Path(sys.executable).with_name("fieldloom")
SCHEMA = json.loads(Path(__file__).with_name("wokwi-diagram.schema.json").read_text())
every_board = pytest.mark.parametrize("name", boards.names())


def diagram_of(board):
    return json.loads(wokwi.project(board).files["diagram.json"])


@every_board
def test_the_diagram_follows_the_schema_of_wokwis_documentation(name):
    diagram = diagram_of(boards.load(name))

    jsonschema_rs.Draft202012Validator(SCHEMA).validate(diagram)


@every_board
def test_every_wire_ends_at_a_pin_that_its_part_has(name):
    diagram = diagram_of(boards.load(name))
    pins = {part["id"]: wokwi.PINS[part["type"]] for part in diagram["parts"]} | {"$serialMonitor": {"TX", "RX"}}

    assert len(pins) == len(diagram["parts"]) + 1
    for start, end, _, _ in diagram["connections"]:
        for wire_end in (start, end):
            part, _, pin = wire_end.partition(":")
            assert pin in pins[part], wire_end


@every_board
def test_every_gpio_of_the_board_is_wired_or_said_to_be_left_out(name):
    board = boards.load(name)
    project = wokwi.project(board)
    wired = {end for start, end, _, _ in json.loads(project.files["diagram.json"])["connections"]}

    for entry in board.drivers:
        if entry["name"] not in project.left_out:
            assert f"esp:{entry['pin']}" in wired
    assert set(project.left_out) == {entry["name"] for entry in board.drivers if entry["driver"] == "bme280"}


def test_a_relay_and_a_contact_are_drawn_as_the_board_says():
    text = (boards.folder() / "esp32-generic.toml").read_text()
    board = boards.parse(text.replace('pull = "up"', 'pull = "down"'), "test")
    parts = {part["id"]: part for part in diagram_of(board)["parts"]}
    wires = [wire[:2] for wire in diagram_of(board)["connections"]]

    assert parts["relay"]["attrs"] == {"transistor": "pnp"}
    assert parts["esp"]["attrs"] == {"flashSize": "4"}
    assert ["button:2.l", "esp:3V3"] in wires
    assert ["led:A", "esp:2"] in wires


@every_board
def test_scenario_and_configuration_are_read_back(name):
    board = boards.load(name)
    project = wokwi.project(board)
    scenario = yaml.safe_load(project.files["scenario.yaml"])
    configuration = tomllib.loads(project.files["wokwi.toml"])
    parts = {part["id"] for part in json.loads(project.files["diagram.json"])["parts"]}

    assert (scenario["name"], scenario["version"]) == (board.title, 1)
    assert scenario["steps"][0] == {"wait-serial": "fieldloom "}
    for step in scenario["steps"]:
        ((verb, arguments),) = step.items()
        assert verb in ("wait-serial", "expect-pin", "set-control", "delay")
        assert not isinstance(arguments, dict) or arguments["part-id"] in parts
    assert configuration["wokwi"] == {"version": 1, "firmware": "flash.bin", "rfc2217ServerPort": 4000}


def test_qemu_is_called_with_the_machine_of_the_chip():
    commands = {boards.load(name).chip: wokwi.qemu(boards.load(name)) for name in boards.names()}

    assert commands["esp32"][0] == commands["esp32s3"][0] == "qemu-system-xtensa"
    assert commands["esp32c3"][:3] == ["qemu-system-riscv32", "-icount", "3"]
    for chip, command in commands.items():
        assert command[command.index("-machine") + 1] == chip
        assert command[-1] == "file=flash.bin,if=mtd,format=raw"


def micropython(board, size=0x180000):
    """Return what has the form of MicroPython's .bin: something, the partition table, something."""
    content = bytearray(b"\xe9" * size)
    at = partitions.TABLE_OFFSET - board.of_chip.bootloader
    content[at : at + partitions.TABLE_BYTES] = partitions.pack(board.flash.partitions)
    return bytes(content)


@every_board
def test_the_flash_holds_micropython_and_exactly_the_build(name):
    board, files = boards.load(name), release.build() | {"/config.json": b"{}"}

    whole = flash.compose(board, micropython(board), files)

    start, vfs = board.of_chip.bootloader, board.flash.vfs
    assert len(whole) == board.flash.size_bytes
    assert whole[start : start + 0x180000] == micropython(board)
    fs = littlefs.LittleFS(mount=False, block_count=vfs.size // image.BLOCK, **image.GEOMETRY)
    fs.context.buffer[:] = whole[vfs.offset : vfs.end]
    fs.mount()
    found = {f"{folder.rstrip('/')}/{one}": None for folder, _, names in fs.walk("/") for one in names}
    assert set(found) == set(files)
    assert {path: fs.open(path, "rb").read() for path in found} == files


def test_the_real_vm_mounts_the_file_system_of_the_flash(tmp_path):
    board = boards.load("esp32-generic")
    vfs = board.flash.vfs
    path = tmp_path / "vfs.img"
    path.write_bytes(flash.compose(board, micropython(board), release.build())[vfs.offset : vfs.end])

    imports = f"""
with open({str(path)!r}, "rb") as file:
    content = file.read()
"""
    script = """
flash.memory, flash.blocks = content, len(content) // 4096
mount(flash, fresh=False)
print(json.dumps([sorted(os.listdir("/")), open("/main.py").read()]))
"""
    listed, main = json.loads(run(imports, script))

    assert listed == ["a", "boot.py", "main.py"]
    assert main == (release.folder() / "main.py").read_text()


def test_an_image_with_another_layout_or_too_large_is_refused():
    board = boards.load("esp32-generic")
    other = boards.parse((boards.folder() / "esp32-generic.toml").read_text().replace("0x1F0000", "0x1E0000"), "test")

    with pytest.raises(Rejected, match=r"another layout: .*factory 0x10000\+0x1e0000"):
        flash.compose(board, micropython(other), {})
    with pytest.raises(Rejected, match="reaches into the file system at 0x200000"):
        flash.compose(board, micropython(board, 0x1FF001), {})
    with pytest.raises(Rejected, match="is missing"):
        flash.compose(board, b"\xe9" * 0x10000, {})


def fieldloom(*arguments):
    command = [FIELDLOOM, "board", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_makes_a_project_with_an_image_that_only_its_owner_reads(tmp_path):
    authority = TestAuthority(tmp_path / "wokwi-1")
    for made, name in zip(authority.issue("wokwi-1"), ("cert.pem", "key.pem"), strict=True):
        made.rename(tmp_path / "wokwi-1" / name)
    board = boards.load("esp32-generic")
    (tmp_path / "mp.bin").write_bytes(micropython(board))
    options = ["--micropython", tmp_path / "mp.bin", "--device", tmp_path / "wokwi-1", "--gateway", "gw.a=host:8883"]

    done = fieldloom("wokwi", "esp32-generic", "--out", tmp_path / "out", *options, "--json")

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(told["files"])
    whole = tmp_path / "out" / "flash.bin"
    assert whole.stat().st_mode & 0o777 == 0o600
    assert whole.stat().st_size == board.flash.size_bytes
    assert b'"gateways": [{"id": "gw.a", "host": "host", "port": 8883}]' in whole.read_bytes()


def test_the_command_lists_checks_and_refuses(tmp_path):
    (tmp_path / "mine.toml").write_text(
        (boards.folder() / "esp32-generic.toml").read_text().replace("pin = 4", "pin = 6")
    )

    listed = json.loads(fieldloom("list", "--json").stdout)["items"]
    shown = json.loads(fieldloom("check", "esp32-generic", "--json").stdout)
    wrong = fieldloom("check", tmp_path / "mine.toml")
    partly = fieldloom("wokwi", "esp32-generic", "--out", tmp_path, "--gateway", "gw.a=host:8883")

    assert [one["name"] for one in listed] == boards.names()
    assert shown == boards.load("esp32-generic").configuration()
    assert (wrong.returncode, wrong.stderr.strip()) == (
        2,
        "fieldloom: drivers[0].pin: GPIO 6 is a line of the flash",
    )
    assert partly.returncode == 2
    assert "an image needs all three" in partly.stderr
