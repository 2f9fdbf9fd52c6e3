"""Boards' TOML files: what is wrong in one is told with its place and the reason. (F1, F6, F8)"""

import pytest

from fieldloom_build import boards, partitions, release
from fieldloom_build.options import DRIVERS
from fieldloom_contract.errors import Rejected
from firmware.board import drive

FLASH = """
[flash]
size = "4MB"
[[flash.partitions]]
name = "factory"
type = "app"
subtype = "factory"
offset = 0x10000
size = 0x1F0000
[[flash.partitions]]
name = "vfs"
type = "data"
subtype = "fat"
offset = 0x200000
size = 0x200000
"""
HEAD = 'title = "T"\nchip = "esp32"\nmicropython = "ESP32_GENERIC"\ntype = "t"\n'


def toml(drivers="", head="", flash=FLASH):
    return HEAD + head + "\n" + drivers + flash


def driver(text):
    return "[[drivers]]\n" + text.replace(", ", "\n") + "\n"


@pytest.mark.parametrize("name", boards.names())
def test_our_boards_start_all_their_drivers(name):
    board = boards.load(name)

    (started, told), _ = drive(
        board.configuration()["drivers"], "print(json.dumps([sorted(board.drivers), board.told]))"
    )

    assert started == sorted(entry["name"] for entry in board.drivers)
    assert told == []


def test_there_is_a_board_for_each_chip_and_options_for_each_driver():
    known = {path.stem for path in (release.folder() / "fieldloom_agent" / "drivers").glob("*.py")} - {"__init__"}

    assert {boards.load(name).chip for name in boards.names()} == {"esp32", "esp32c3", "esp32s3"}
    assert set(DRIVERS) == known


BAD = [
    (toml(driver('driver = "dht22", pin = "4"')), "drivers[0].pin", "Expected `int`, got `str`"),
    (toml(driver('driver = "dht22"')), "drivers[0]", "Object missing required field `pin`"),
    (toml(driver('driver = "dht22", pin = 4, pim = 5')), "drivers[0]", "Object contains unknown field `pim`"),
    (toml(driver('driver = "dth22", pin = 4')), "drivers[0].driver", "dth22 is no file of drivers/"),
    (toml(driver('driver = "../agent"')), "drivers[0].driver", "../agent is no file of drivers/"),
    (toml(driver('driver = "dht22", pin = 6')), "drivers[0].pin", "GPIO 6 is a line of the flash"),
    (toml(driver('driver = "dht22", pin = 24')), "drivers[0].pin", "ESP32 has no GPIO 24"),
    (toml(driver('driver = "switch", pin = 34')), "drivers[0].pin", "GPIO 34 is an input only"),
    (toml(driver('driver = "adc", pin = 4')), "drivers[0].pin", "GPIO 4 is not on ADC1 (32 to 39)"),
    (toml(driver('driver = "adc", pin = 34, attenuation = 3')), "drivers[0]", "attenuation must be 0, 2.5, 6 or 11"),
    (toml(driver('driver = "pwm", pin = 4'), "led = 4"), "drivers[0].pin", "GPIO 4 is taken by led"),
    (
        toml(driver('driver = "dht22", pin = 4') + driver('driver = "bme280", scl = 5, sda = 4')),
        "drivers[1].sda",
        "GPIO 4 is taken by drivers[0].pin",
    ),
    (
        toml(driver('driver = "bme280", scl = 5, sda = 4') + driver('driver = "bme280", name = "b", scl = 4, sda = 5')),
        "drivers[1].scl",
        "GPIO 4 is taken by drivers[0].sda",
    ),
    (
        toml(driver('driver = "bme280", scl = 5, sda = 4') + driver('driver = "bme280", name = "b", scl = 5, sda = 4')),
        "drivers[1].address",
        "0x76 on this bus is drivers[0]'s",
    ),
    (
        toml(driver('driver = "dht22", pin = 4') + driver('driver = "dht22", pin = 5')),
        "drivers[1].name",
        "dht22 is the name of drivers[0] too",
    ),
    (
        toml(driver('driver = "dht22", pin = 4') + driver('driver = "dht22", name = "b", pin = 5')),
        "drivers[1]",
        "measures temperature, as drivers[0] does",
    ),
    (toml("[report.x]\ndeadband = -1\n"), "report.x.deadband", "Expected `float` >= 0.0"),
    (toml("[report.x]\ndeadband = 1\ndeadband_percent = 1\n"), "report.x", "has both"),
    (toml("[report.x]\nmin = 10\nmax = 5\n"), "report.x.min", "is longer than max"),
    (toml(head='chip = "esp8266"'), "TOML", "Cannot overwrite a value"),
    (toml().replace('"esp32"', '"esp8266"'), "chip", "Invalid enum value 'esp8266'"),
    (toml(flash=""), "board", "Object missing required field `flash`"),
    (toml(flash=FLASH.replace("0x1F0000", "0x200000")), "flash.partitions[1].offset", "lies before 0x210000"),
    (toml(flash=FLASH.replace("size = 0x200000", "size = 0x201000")), "flash.partitions[1].size", "behind the flash"),
    (toml(flash=FLASH.replace("0x10000", "0x11000")), "flash.partitions[0].offset", "must be multiples of 0x10000"),
    (toml(flash=FLASH.replace('"fat"', '"ext4"')), "flash.partitions[1].subtype", "ext4 is no subtype of data"),
    (toml(flash=FLASH.replace('"vfs"', '"files"')), "flash.partitions", "one must be vfs"),
]


@pytest.mark.parametrize(("text", "field", "reason"), BAD, ids=[f"{field}: {reason}" for _, field, reason in BAD])
def test_what_is_wrong_is_told_with_its_place(text, field, reason):
    with pytest.raises(Rejected) as refused:
        boards.parse(text, "test")

    assert refused.value.field == field
    assert refused.value.reason.startswith(reason) or reason in refused.value.reason


def test_a_board_of_ones_own_is_read_from_its_path_and_an_unknown_one_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(toml(driver('driver = "bme280", scl = 22, sda = 21')))

    assert boards.load(str(path)).name == "mine"
    with pytest.raises(Rejected, match="mine is neither a TOML file nor one of esp32-c3-devkitm"):
        boards.load("mine")


@pytest.mark.parametrize("name", boards.names())
def test_the_partition_table_comes_back_from_its_binary_form(name):
    flash = boards.load(name).flash

    table = partitions.pack(flash.partitions)

    assert partitions.unpack(table) == flash.partitions
    assert flash.vfs.end == flash.size_bytes


def test_a_damaged_partition_table_is_found():
    table = bytearray(partitions.pack(boards.load("esp32-generic").flash.partitions))
    table[5] ^= 1

    for damaged, reason in ((bytes(table), "wrong checksum"), (b"\xff" * 0xC00, "is missing"), (b"", "is missing")):
        with pytest.raises(Rejected, match=reason):
            partitions.unpack(damaged)


def test_the_partition_table_has_the_bytes_that_the_format_prescribes():
    # Magic, type, subtype, offset and size (little-endian), name, flags: ESP-IDF's guide to partition tables.
    nvs = bytes.fromhex("aa50 01 02 00900000 00600000") + b"nvs".ljust(16, b"\0") + bytes(4)
    vfs = bytes.fromhex("aa50 01 81 00002000 00002000") + b"vfs".ljust(16, b"\0") + bytes(4)

    table = partitions.pack(boards.load("esp32-generic").flash.partitions)

    assert table[:32] == nvs
    assert table[96:128] == vfs
