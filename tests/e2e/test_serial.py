"""The serial ports of virtual boards, used by the real mpremote. (F6, F7)"""

import os
import subprocess
import sys
import time

from e2e.test_boards import wait_for
from fieldloom_build.personal import Identity
from fieldloom_sim.fleet import Gateway
from fixtures.certificates import TestAuthority
from fixtures.processes import free_port

SECONDS = 20  # mpremote itself waits for a pty without an end


def mpremote(port, *arguments):
    command = [sys.executable, "-m", "mpremote", "connect", port, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mpremote_copies_lists_runs_and_resets(fleet, tmp_path):
    fleet.add_bare("bare")
    port = fleet.serial("bare")
    source = tmp_path / "hello.py"
    source.write_text("print('hello from', __name__)\n")

    mpremote(port, "fs", "mkdir", ":lib")
    copied = mpremote(port, "fs", "cp", source, ":lib/hello.py")
    again = mpremote(port, "fs", "cp", source, ":lib/hello.py")
    listed = mpremote(port, "fs", "ls", ":lib")
    ran = mpremote(port, "run", source)
    imported = mpremote(port, "exec", "import hello")
    mpremote(port, "soft-reset")

    assert "Up to date" not in copied
    assert "Up to date: lib/hello.py" in again
    assert "hello.py" in listed
    assert ran == "hello from __main__\n"
    assert imported == "hello from hello\n"


def test_a_working_agent_is_stopped_looked_at_and_started_again(fleet, tmp_path):
    authority = TestAuthority(tmp_path / "ca")
    identity = Identity("board-1", *authority.issue("board-1"), authority.ca)
    nobody = Gateway("gw.none", "127.0.0.1", free_port())
    fleet.add(identity, [nobody], interval=50)
    port = fleet.serial("board-1")
    wait_for(lambda: "link:" in fleet.console("board-1"), 30, "a running agent")

    stopped = mpremote(port, "exec", "import machine, os; print(machine.reset_cause(), 'config.json' in os.listdir())")
    starts = fleet.status()["board-1"]["starts"]
    mpremote(port, "resume", "exec", "--no-follow", "import machine; machine.reset()")
    wait_for(lambda: fleet.status()["board-1"]["starts"] > starts, 30, "a start after machine.reset")

    assert stopped == "5 True\n"  # a soft reset
    said = fleet.console("board-1")
    assert "KeyboardInterrupt" in said
    assert "MPY: soft reboot" in said
    wait_for(lambda: "link:" in fleet.console("board-1")[len(said) :], 30, "the agent again")
    assert fleet.serial("board-1") == port


def test_a_board_at_its_prompt_is_still_reset_by_its_watchdog(fleet):
    fleet.add_bare("bare")
    port = fleet.serial("bare")

    mpremote(port, "exec", "import machine; machine.WDT(timeout=400)")
    wait_for(lambda: fleet.status()["bare"]["starts"] == 3, 30, "a start after the watchdog's")

    assert mpremote(port, "resume", "exec", "import machine; print(machine.reset_cause())") == "3\n"


def test_a_soft_reset_does_not_stop_the_watchdog(fleet):
    fleet.add_bare("bare")
    port = fleet.serial("bare")

    mpremote(port, "exec", "import machine; machine.WDT(timeout=2000)", "soft-reset")
    starts = fleet.status()["bare"]["starts"]

    wait_for(lambda: fleet.status()["bare"]["starts"] > starts, 30, "a start after the watchdog's")


def test_the_port_outlives_power_cuts_and_whoever_attaches(fleet):
    fleet.add_bare("bare")
    port = fleet.serial("bare")
    before = mpremote(port, "exec", "print(1)")

    fleet.off("bare")
    fleet.on("bare")

    assert before == mpremote(port, "exec", "print(1)") == "1\n"
    assert fleet.serial("bare") == port


def test_code_that_never_ends_is_interrupted_and_its_flood_read_by_nobody(fleet):
    fleet.add_bare("bare")
    port = fleet.serial("bare")

    mpremote(port, "exec", "--no-follow", "while True: print('a flood of words', end=' ')")
    time.sleep(1.5)  # longer than a host may take to read
    assert mpremote(port, "exec", "print('quiet')").splitlines()[-1] == "quiet"


def test_a_ctrl_c_in_a_question_to_the_hardware_leaves_no_answer_to_the_next(fleet):
    fleet.add_bare("bare")
    port = fleet.serial("bare")

    for _ in range(5):
        mpremote(port, "resume", "exec", "--no-follow", "import time\nwhile True: time.time()")
        answer = mpremote(port, "resume", "exec", "import machine; print('cause', machine.reset_cause())")
        assert answer.splitlines()[-1] == "cause 1"


def test_a_long_answer_arrives_whole(fleet):
    fleet.add_bare("bare")

    assert len(mpremote(fleet.serial("bare"), "exec", "for _ in range(2000): print('x' * 49)")) == 100_000


def test_what_is_typed_reaches_the_prompt(fleet):
    fleet.add_bare("bare")
    port = os.open(fleet.serial("bare"), os.O_RDWR | os.O_NOCTTY)

    os.write(port, b"print(6 * 7)\r")

    wait_for(lambda: "42" in fleet.console("bare"), 30, "the answer")
    os.close(port)
