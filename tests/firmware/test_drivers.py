"""The real drivers on the real VM, against sensors modelled down to their registers. (F1, F7)"""

import shutil

import pytest

from fieldloom_sim.parts import bme280
from fieldloom_sim.parts.ds18b20 import crc8
from firmware.board import drive
from fixtures.micropython import ROOT

BME280 = {"driver": "bme280", "name": "climate", "scl": 22, "sda": 21}
MEASURE = """
def measure(name):
    driver = board.drivers[name]
    try:
        if hasattr(driver, "prepare"):
            time.sleep_ms(driver.prepare())
        return driver.read()
    except OSError as error:
        return str(error)
"""


def measured(entries, script):
    values, _ = drive(entries, MEASURE + "seen = []\n" + script + "\nprint(json.dumps(seen))")
    return values


def test_bme280_gives_the_values_of_the_data_sheets_example():
    script = f"""
from fieldloom_agent.drivers.bme280 import compensate
known = {bme280.T + bme280.P + bme280.H}
print(json.dumps(compensate(known, 519888, 415148, 30000)))
"""
    (celsius, pascal, percent), _ = drive([BME280], script)

    assert celsius == 2508
    assert pascal / 256 == pytest.approx(100653.27, abs=0.1)
    assert percent / 1024 == pytest.approx(bme280.percent(30000, bme280.fine(519888)), abs=0.02)


def test_bme280_measures_what_the_world_is_over_its_whole_range():
    ranges = [(-40, 10, 300), (-0.01, 99, 700.5), (0, 0, 1100), (21.37, 45, 1013.25), (60, 100, 950), (85, 50, 1100)]
    worlds = [dict(zip(("temperature", "humidity", "pressure"), one, strict=True)) for one in ranges]

    seen = measured([BME280], f"for one in {worlds}:\n    world('climate', **one)\n    seen.append(measure('climate'))")

    for told, wanted in zip(seen, worlds, strict=True):
        assert told["temperature"] == pytest.approx(wanted["temperature"], abs=0.01)
        assert told["humidity"] == pytest.approx(wanted["humidity"], abs=0.05)
        assert told["pressure"] == pytest.approx(wanted["pressure"], abs=0.02)


def test_bme280_may_be_plugged_in_late_and_says_what_is_wrong_with_it():
    seen = measured(
        [BME280],
        """
for fault in ("absent", None, "absent", None, "dead", None):
    world("climate", fault)
    seen.append(measure("climate"))
""",
    )
    wrong = measured([BME280], "world('climate', 'wrong_chip')\nseen.append(measure('climate'))")

    assert [isinstance(told, dict) for told in seen] == [False, True, False, True, True, True]
    assert seen[0] == "[Errno 19] ENODEV"
    assert wrong == ["chip id 0x58 is no BME280's"]


def test_two_bme280_share_a_bus_and_have_their_own_metrics():
    other = BME280 | {"name": "outside", "address": 0x77, "prefix": "outside_"}
    scan = "bus = __import__('machine').I2C(0, scl=__import__('machine').Pin(22), sda=__import__('machine').Pin(21))"

    seen = measured(
        [BME280, other],
        f"""
{scan}
world("outside", temperature=-5)
seen += [bus.scan(), measure("climate"), measure("outside")]
""",
    )

    assert seen[0] == [0x76, 0x77]
    assert seen[1]["temperature"] == pytest.approx(21, abs=0.01)
    assert seen[2]["outside_temperature"] == pytest.approx(-5, abs=0.01)


def test_ds18b20_converts_beside_the_loop_and_finds_its_faults():
    seen = measured(
        [{"driver": "ds18b20", "name": "tank", "pin": 4}],
        """
tank = board.drivers["tank"]
begun = time.ticks_ms()
seen.append(tank.prepare())
seen.append(time.ticks_diff(time.ticks_ms(), begun) < 300)
try:
    tank.read()
except OSError as error:
    seen.append(str(error))
time.sleep_ms(752)
seen.append(tank.read())
world("tank", temperature=30)
tank.prepare()
seen.append(tank.read())
for fault, celsius in ((None, -10.125), ("crc", 20), ("brown_out", 20), ("absent", 20), (None, 125)):
    world("tank", fault, temperature=celsius)
    seen.append(measure("tank"))
""",
    )

    assert seen[:5] == [752, True, "nothing was measured yet", {"temperature": 21}, {"temperature": 21}]
    below, crc, brown_out, absent, hot = seen[5:]
    assert below == {"temperature": -10.125}
    assert crc.endswith("sends a wrong CRC")
    assert brown_out.endswith("lost its supply during the conversion")
    assert absent == "no sensor answers"
    assert hot == {"temperature": 125}


def test_several_ds18b20_are_found_by_the_search_and_told_apart_by_their_roms():
    roms = {"2866d34e05000098": "inlet", "28f6d34e050000b3": "outlet", "2866d35e05000057": "room"}
    roms = {with_crc(rom): metric for rom, metric in roms.items()}
    entry = {"driver": "ds18b20", "name": "tank", "pin": 4}

    named = measured(
        [entry | {"sensors": roms}],
        """
world("inlet", temperature=60)
world("outlet", temperature=40.5)
seen.append(measure("tank"))
board.drivers["tank"]._named = []
seen.append(measure("tank"))
""",
    )

    assert named[0] == {"inlet": 60, "outlet": 40.5, "room": 21}
    assert sorted(named[1].split(": ")[1].split(", ")) == sorted(roms)


def with_crc(rom):
    known = bytes.fromhex(rom)[:7]
    return (known + bytes([crc8(known)])).hex()


def test_dht22_reads_below_zero_rests_and_finds_a_broken_frame():
    seen = measured(
        [{"driver": "dht22", "pin": 4, "prefix": "attic_"}],
        """
def rested():
    driver = board.drivers["dht22"]
    driver._read_at = time.ticks_add(driver._read_at, -2000)
world("dht22", temperature=-12.3, humidity=99.9)
seen.append(measure("dht22"))
world("dht22", temperature=30)
seen.append(measure("dht22"))
for fault in (None, "checksum", "absent"):
    rested()
    world("dht22", fault)
    seen.append(measure("dht22"))
""",
    )

    first, resting, warm, broken, absent = seen
    assert first == resting == {"attic_temperature": -12.3, "attic_humidity": 99.9}
    assert warm["attic_temperature"] == 30
    assert broken.startswith("the checksum is wrong")
    assert "116" in absent


def test_adc_scales_volts_up_to_what_its_attenuation_lets_through():
    entries = [
        {"driver": "adc", "name": "battery", "pin": 34, "scale": 2},
        {"driver": "adc", "name": "soil", "pin": 35, "attenuation": 2.5, "scale": -100, "offset": 150, "samples": 1},
    ]

    seen = measured(
        entries,
        """
world("battery", volts=1.95)
world("soil", volts=0.5)
seen += [measure("battery"), measure("soil")]
world("soil", volts=3)
seen.append(measure("soil"))
""",
    )

    assert seen[0]["battery"] == pytest.approx(3.9, abs=0.002)
    assert seen[1]["soil"] == pytest.approx(100, abs=0.05)
    assert seen[2]["soil"] == pytest.approx(25, abs=0.05)


def test_a_contact_is_told_when_it_has_come_to_rest():
    entry = {"driver": "digital_in", "name": "door", "pin": 5, "pull": "up", "active_low": True, "debounce": 60}

    (before, bounced, changes), _ = drive(
        [entry],
        """
async def story():
    read = board.drivers["door"].read
    seen = [read()["door"]]
    for level in (1, 0, 1, 0, 0, 1, 0):
        world("door", level=level)
        await asyncio.sleep_ms(25)
    seen.append(len(board.told))
    for level in (1, 0):
        world("door", level=level)
        await asyncio.sleep_ms(300)
    print(json.dumps(seen + [board.told]))
asyncio.run(story())
""",
    )

    assert (before, bounced) == (True, 0)
    assert changes == [
        ["event", "input.changed", {"name": "door", "value": False}],
        ["event", "input.changed", {"name": "door", "value": True}],
    ]


def test_outputs_start_safe_and_refuse_what_they_can_not_do():
    entries = [
        {"driver": "switch", "name": "relay", "pin": 14, "active_low": True},
        {"driver": "switch", "name": "lamp", "pin": 15, "start": True},
        {"driver": "switch", "name": "valve", "pin": 16, "active_low": True},
        {"driver": "pwm", "name": "fan", "pin": 13, "frequency": 25000},
        {"driver": "pwm", "name": "heater", "pin": 12},
    ]

    refused, pins = drive(
        entries,
        """
refused = []
def write(name, value):
    try:
        board.drivers[name].write(value)
    except ValueError:
        refused.append([name, value])
write("valve", True)
write("fan", 0.25)
for name, value in (("relay", 1), ("fan", 1.01), ("fan", "fast"), ("fan", True)):
    write(name, value)
assert board.drivers["valve"].read() == {"valve": True} and board.drivers["fan"].read() == {"fan": 0.25}
print(json.dumps(refused))
""",
    )

    assert refused == [["relay", 1], ["fan", 1.01], ["fan", "fast"], ["fan", True]]
    assert [pins[number]["level"] for number in (14, 15, 16)] == [1, 1, 0]
    assert pins[13]["duty"] == pytest.approx(0.25, abs=0.001)
    assert pins[12]["duty"] == 0


def test_waveforms_stay_in_their_bounds_and_repeat_by_their_seed():
    shapes = ["sine", "square", "sawtooth", "random_walk", "noise"]
    entries = [
        {"driver": "waveform", "name": f"{shape}{copy}", "shape": shape, "mean": 20, "amplitude": 5, "period": 40}
        for shape in shapes
        for copy in (1, 2)
    ] + [{"driver": "waveform", "name": "other", "shape": "noise", "mean": 20, "amplitude": 5, "seed": 7}]

    seen, _ = drive(
        [*entries, {"driver": "waveform", "name": "wrong", "shape": "round"}],
        """
seen = {name: [] for name in board.drivers}
for _ in range(60):
    for name, driver in board.drivers.items():
        seen[name].append(driver.read()[name])
    time.sleep_ms(1)
print(json.dumps([seen, board.told]))
""",
    )
    curves, told = seen

    for values in curves.values():
        assert min(values) >= 15
        assert max(values) <= 25
        assert len(set(values)) > 1
    assert set(curves["square1"]) == {15, 25}
    for shape in ("random_walk", "noise"):
        assert curves[f"{shape}1"] == curves[f"{shape}2"]
    assert curves["noise1"] != curves["other"]
    assert told == [["wrong", "shape: round is not known"]]


def test_a_driver_of_ones_own_is_found_by_its_name_and_a_broken_one_stops_nothing(tmp_path):
    shutil.copytree(ROOT / "firmware" / "fieldloom_agent", tmp_path / "fieldloom_agent")
    folder = tmp_path / "fieldloom_agent" / "drivers"
    (folder / "rain.py").write_text(
        "class Driver:\n    measures = True\n    def __init__(self, entry):\n        self.size = entry['size']\n"
        "    def read(self):\n        return {'rain': self.size}\n"
    )
    (folder / "broken.py").write_text("class Driver:\n    def __init__(self, entry):\n        raise OSError('burnt')\n")
    (folder / "dies.py").write_text(
        "class Driver:\n    def __init__(self, entry):\n        pass\n"
        "    async def run(self, agent):\n        raise OSError('died')\n"
    )

    (rain, told), _ = drive(
        [{"driver": "broken"}, {"driver": "dies"}, {"driver": "rain", "name": "roof", "size": 7}],
        """
async def a_moment():
    await asyncio.sleep_ms(10)
asyncio.run(a_moment())
print(json.dumps([board.drivers["roof"].read(), board.told]))
""",
        firmware=tmp_path,
    )

    assert rain == {"rain": 7}
    assert told == [["broken", "burnt"], ["dies", "died"]]
