"""From a bare board to one that the cloud hears, by the real command over the real mpremote. (F6)"""

import contextlib
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial

from e2e.system import System
from e2e.test_boards import wait_for
from e2e.test_serial import mpremote
from fieldloom_build import image, release_keys, whole
from fieldloom_build.errors import BuildFailed, NoAnswer, WrongMicroPython
from fieldloom_build.inventory import SCRIPT, Inventory
from fieldloom_build.ports import Mpremote
from fieldloom_sim.fleet import Fleet
from fieldloom_sim.loader import FLASH_FILE
from fixtures.processes import FIELDLOOM
from fixtures.strangers import publish

WIFI_KEY = "correct-horse-battery"
DRIVERS = [{"driver": "simulated", "name": "climate"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("flashing")


@pytest.fixture(scope="module")
def system(folder):
    system = System(folder)
    yield system
    system.stop()


@pytest.fixture(scope="module")
def fleet(folder):
    fleet = Fleet(folder / "boards")
    fleet.start()
    yield fleet
    fleet.stop()


class Command:
    """`fieldloom device` with a data folder and the cloud of a system."""

    def __init__(self, system, data):
        self.data = data
        (data / "settings.json").write_text(json.dumps({"interval": 200, "drivers": DRIVERS}))
        self.gateway = f"{system.gateways[0].id}=127.0.0.1:{system.mqtt_port}"
        self.environment = os.environ | {
            "FIELDLOOM_API": f"http://127.0.0.1:{system.cloud.port}",
            "FIELDLOOM_TOKEN": system.cloud.token,
            "FIELDLOOM_WIFI_KEY": WIFI_KEY,
            "COLUMNS": "200",
        }

    def start(self, *arguments, **options):
        command = [FIELDLOOM, "device", *map(str, arguments)]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, env=self.environment, **(pipes | options))

    def run(self, *arguments, code=0):
        """Return standard output, or standard error for a command that has to fail."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=90)
        assert process.returncode == code, out + err
        return err if code else out

    def flash(self, device, port, *more, code=0):
        said = self.run("flash", "--device", device, "--port", port, "--data", self.data, *more, "--json", code=code)
        return said if code else json.loads(said)

    def arguments(self, device):
        """What a first flash of a new device is told."""
        self.run("new", device, "--data", self.data)
        settings = ("--config", self.data / "settings.json", "--gateway", self.gateway, "--wifi", "virtual")
        return ("--device", device, "--data", self.data, *settings)


@pytest.fixture(scope="module")
def command(system, folder):
    data = folder / "data"
    data.mkdir()
    return Command(system, data)


@pytest.fixture(scope="module")
def member(command, fleet):
    """A board that was bare and is flashed: its port, what the command said, and what was seen of it meanwhile."""
    fleet.add_bare("pump-1")
    port, seen = fleet.serial("pump-1"), set()
    process = command.start("flash", *command.arguments("pump-1"), "--port", port, "--json")
    while process.poll() is None:
        seen |= {line for line in command_lines() if "mpremote" in line}
        time.sleep(0.05)
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return SimpleNamespace(port=port, told=json.loads(out), command_lines=seen, said=out + err)


def test_a_bare_board_becomes_a_member(member, system):
    wait_for(lambda: len(system.stored("pump-1")) > 3, 20, "telemetry")

    assert member.told["checked_in"]
    assert member.told["unchanged"] == 0
    named = {"/boot.py", "/config.json", "/cert/key.der", "/a/lib/fieldloom_agent/agent.mpy"}
    assert named <= set(member.told["copied"])
    assert member.told["copied"][-1] == "/main.py"


def test_a_working_member_is_flashed_by_differences_alone(member, command, tmp_path):
    same = command.flash("pump-1", member.port)

    (tmp_path / "other").write_text("print('not what was built')")
    for path in ("/a/lib/fieldloom_agent/clock.mpy", "/a/lib/fieldloom_agent/clock.py", "/my_notes.txt"):
        mpremote(member.port, "fs", "cp", tmp_path / "other", f":{path}")
    repaired = command.flash("pump-1", member.port)
    kept = mpremote(member.port, "exec", "import os; print('my_notes.txt' in os.listdir())", "reset")

    assert (same["copied"], same["removed"]) == ([], [])
    assert same["unchanged"] == len(member.told["copied"]) - 1  # all but the configuration, which was not given again
    assert same["checked_in"]
    assert repaired["copied"] == ["/a/lib/fieldloom_agent/clock.mpy"]
    assert repaired["removed"] == ["/a/lib/fieldloom_agent/clock.py"]
    assert repaired["checked_in"]
    assert kept.startswith("True")


def test_a_board_with_the_firmware_in_its_rom_gets_the_rest(command, fleet, system):
    fleet.add_bare("pump-rom", in_rom=True)
    port = fleet.serial("pump-rom")

    told = json.loads(command.run("flash", *command.arguments("pump-rom"), "--in-rom", "--port", port, "--json"))

    wait_for(lambda: len(system.stored("pump-rom")) > 3, 20, "telemetry")
    assert told["checked_in"]
    assert {"/boot.py", "/main.py", "/config.json"} < set(told["copied"])
    assert not [path for path in told["copied"] if path.startswith("/a/")]


def test_a_flashing_that_was_cut_short_is_made_good_by_the_next(command, fleet):
    fleet.add_bare("pump-2")
    port = fleet.serial("pump-2")
    arguments = (*command.arguments("pump-2"), "--port", port, "--wait", 0, "--json")

    cut = command.start("flash", *arguments, start_new_session=True)
    wait_for(lambda: "/a/lib/umqtt/simple.mpy" in "".join(command_lines()), 30, "the copying")
    fleet.off("pump-2")
    fleet.on("pump-2")
    os.killpg(cut.pid, signal.SIGKILL)  # its mpremote would wait for an answer for ever
    cut.communicate()
    wait_for(lambda: not is_busy(port), 60, "the end of its mpremote")
    again = json.loads(command.run("flash", *arguments))
    after = json.loads(command.run("flash", *arguments))

    assert again["copied"][-1] == "/main.py"
    assert after["copied"] == after["removed"] == []


def test_no_secret_is_in_a_command_line_or_a_log(member, command, fleet):
    key = (command.data / "devices" / "pump-1" / "key.pem").read_text().splitlines()[1]

    told = member.said + fleet.console("pump-1") + "".join(member.command_lines)

    assert "/config.json" in "".join(member.command_lines), "the copying was not seen"
    assert WIFI_KEY not in told
    assert key not in told


def command_lines():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_text(errors="replace")


def test_monitor_shows_the_console_and_ends_by_its_key(command, fleet):
    fleet.add_bare("pump-3")
    port = fleet.serial("pump-3")
    terminal, theirs = pty.openpty()

    process = command.start("monitor", "--port", port, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    read_until(terminal, b"Ctrl-]")
    os.write(terminal, b"print(6 * 7)\r")
    answer = read_until(terminal, b"42")
    os.write(terminal, b"\x1d")

    assert process.wait(30) == 0
    assert b"print(6 * 7)" in answer
    os.close(terminal)


def test_monitor_in_a_pipe_prints_what_the_board_says(command, fleet):
    fleet.add_bare("pump-4")
    port = fleet.serial("pump-4")
    process = command.start("monitor", "--port", port)
    try:
        wait_for(lambda: is_busy(port), 30, "the monitor")
        fleet.reset("pump-4")
        assert "MicroPython" in process.stdout.readline()
    finally:
        process.terminate()
        process.communicate()


def is_busy(port):
    try:
        serial.Serial(port, exclusive=True).close()
    except serial.SerialException:
        return True
    return False


def read_until(terminal, wanted, seconds=30.0):
    said, deadline = b"", time.monotonic() + seconds
    while wanted not in said:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, said
        said += os.read(terminal, 4096)
    return said


def test_log_follows_what_a_device_tells_the_cloud(command, system):
    system.enrol_device("door-1")
    publish(system, "door-1", "event", b'{"type": "door.opened", "data": {"by": "key"}}')
    shown = wait_for(lambda: _with("door.opened", command.run("log", "door-1")), 20, "the first event")

    process = command.start("log", "door-1", "--follow", "--json")
    registered, first = (json.loads(process.stdout.readline()) for _ in range(2))
    publish(system, "door-1", "event", b'{"type": "door.closed", "data": {}}')
    second = json.loads(process.stdout.readline())
    process.terminate()
    process.communicate()

    assert 'door.opened {"by": "key"}' in shown
    kinds = [event["type"] for event in (registered, first, second)]
    assert kinds == ["device.registered", "door.opened", "door.closed"]


def _with(word, said):
    return said if word in said else None


def test_what_stands_in_the_way_is_one_line_with_the_way_out(command, fleet, system):
    fleet.add_bare("pump-5")
    port = fleet.serial("pump-5")
    command.run("new", "pump-5", "--data", command.data)

    nobody = command.flash("pump-9", port, code=1)
    no_port = command.flash("pump-5", "/dev/ttyNONE", code=1)
    no_gateway = command.flash("pump-5", port, code=1)
    no_rom = command.flash("pump-5", port, "--in-rom", code=1)
    with serial.Serial(port, exclusive=True):
        busy = command.flash("pump-5", port, "--gateway", command.gateway, code=1)
    mpremote(port, "exec", "f = open('/big', 'wb')\nfor _ in range(220): f.write(b'x' * 4096)\nf.close()")
    full = command.flash("pump-5", port, "--gateway", command.gateway, code=1)
    command.environment |= {"FIELDLOOM_API": "http://127.0.0.1:9"}
    no_cloud = command.flash("pump-5", port, "--gateway", command.gateway, code=1)
    command.environment |= {"FIELDLOOM_API": f"http://127.0.0.1:{system.cloud.port}"}

    assert "make the device by `fieldloom device new pump-9`" in nobody
    assert "nothing is at /dev/ttyNONE" in no_port
    assert "give --gateway" in no_gateway
    assert "the board's ROM holds no firmware" in no_rom
    assert "is a monitor or another program using it?" in busy
    assert "KB free" in full
    assert "is it running?" in no_cloud
    for said in (nobody, no_port, no_cloud):
        assert said.count("\n") == 1


def test_a_silent_line_ends_after_a_while():
    master, slave = pty.openpty()

    with pytest.raises(NoAnswer, match="no answer within 1 s"):
        Mpremote(os.ttyname(slave), quiet_s=1).connect(SCRIPT)

    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        (["micropython", [1, 21], 6, 9], "1.22 or later is needed"),
        (["circuitpython", [9, 2], 6, 9], "circuitpython 9.2"),
        (["micropython", [1, 22], 5, 9], ".mpy files of version 5"),
    ],
)
def test_a_board_with_the_wrong_python_is_told_so(facts, complaint):
    found = Inventory.parse(f"boot.py says hello\n{json.dumps(facts)}\n")

    with pytest.raises(WrongMicroPython, match=complaint):
        found.check()


def micropython_bin(table_at, size=image.FLASH_BYTES):
    """What stands for a MicroPython .bin: a partition table where one is, and code around it."""
    entries = [(1, 2, 0x9000, 0x6000, b"nvs"), (0, 0, 0x10000, 0x1F0000, b"factory"), (1, 0x81, 0x200000, size, b"vfs")]
    table = b"".join(struct.pack("<2sBBII16sI", b"\xaa\x50", *entry, 0) for entry in entries)
    return (b"\xe9" * table_at + table).ljust(0x10000, b"\xff") + b"code" * 1000


def test_an_image_of_a_whole_flash_is_mounted_and_boots(command, fleet, tmp_path):
    micropython, out = tmp_path / "micropython.bin", tmp_path / "whole.bin"
    micropython.write_bytes(micropython_bin(0x7000))

    root = release_keys.new_root(tmp_path / "root")
    updates = ("--board", "esp32-c3-devkitm", "--release-root", tmp_path / "root" / "root.pub")
    made = ("--image", micropython, "--out", out, *updates, "--json")
    told = json.loads(command.run("flash", *command.arguments("pump-7"), *made))

    assert told["mounted"] is True
    assert told["esptool"] == f"esptool write_flash 0x1000 {out}"
    assert out.stat().st_mode & 0o777 == 0o600
    content = out.read_bytes()
    assert content.startswith(micropython.read_bytes())
    fleet.add_bare("pump-7")
    fleet.off("pump-7")
    with (fleet.path("pump-7") / FLASH_FILE).open("r+b") as flash:
        flash.write(content[0x200000 - 0x1000 :])
    fleet.on("pump-7")
    wait_for(lambda: fleet.acknowledged("pump-7"), 20, "an acknowledgement")
    told = mpremote(fleet.serial("pump-7"), "exec", "print(open('/config.json').read(), open('/release-root').read())")
    assert '"board": "esp32-c3-devkitm"' in told
    assert root.decode() in told.replace("\r\n", "\n")


def test_an_image_begins_where_the_chip_does():
    files = {"/main.py": b"pass"}

    esp32, content = whole.join(micropython_bin(0x7000), files)
    esp32_s3, longer = whole.join(micropython_bin(0x8000), files)

    assert (esp32.start, esp32_s3.start) == (0x1000, 0)
    assert esp32.file_system == esp32_s3.file_system == 0x200000
    assert content[0x1FF000:] == longer[0x200000:]


def test_an_image_that_reads_back_otherwise_is_refused(tmp_path):
    layout, content = whole.join(micropython_bin(0x8000), {"/main.py": b"pass"})
    (tmp_path / "whole.bin").write_bytes(content)

    with pytest.raises(BuildFailed, match="does not read back"):
        whole.verify(tmp_path / "whole.bin", layout, {"/main.py": b"fail"})


def test_a_file_that_is_no_whole_micropython_is_refused(command, tmp_path):
    (tmp_path / "app.app-bin").write_bytes(b"\xe9" * 200_000)

    said = command.run("flash", *command.arguments("pump-8"), "--image", tmp_path / "app.app-bin", code=1)

    assert "no partition table" in said


def test_esptool_is_called_with_the_image(command, fleet, tmp_path):
    program = tmp_path / "esptool"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(tmp_path / 'called')!r}, 'w').write(repr(sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    (tmp_path / "micropython.bin").write_bytes(micropython_bin(0x7000))
    fleet.add_bare("pump-6")
    port, out = fleet.serial("pump-6"), tmp_path / "pump-6.bin"
    environment = command.environment | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    arguments = ("--port", port, *command.arguments("pump-6"))

    made = ("--image", tmp_path / "micropython.bin", "--out", out, "--wait", 0)
    done = subprocess.run([FIELDLOOM, "device", "flash", *map(str, (*arguments, *made))], env=environment, check=False)

    assert done.returncode == 0
    assert (tmp_path / "called").read_text() == repr(["--port", port, "write_flash", "0x1000", str(out)])
