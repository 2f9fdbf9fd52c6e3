"""The way to the gateway on the real VM, against gateways that are not there, say nothing or stop listening. (F1, F2)

Time is the board's own: `ahead(ms)` moves its clock. A ticker beside the connection shows that nothing blocks.
"""

import json
import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager, suppress

import pytest

from fieldloom_build import umqtt
from firmware.vm import run
from fixtures.certificates import TestAuthority
from fixtures.micropython import ROOT
from fixtures.processes import free_port

CONNACK = b"\x20\x02\x00\x00"
SUBACK = b"\x90\x12\x00\x01" + bytes(16)  # for up to 16 topics
IMPORTS = f"""
sys.path.append({str(umqtt.fetch(ROOT / "firmware" / "lib").parents[1])!r})
"""
IMPORTS += """
import asyncio, time, tls
class Wifi:
    def connect(wifi, address): pass
sys.modules["fieldloom_agent.wifi"] = Wifi
from fieldloom_agent import connection, decoding, drops, home, overlay, storing
from fieldloom_agent.buffer import Buffer
from fieldloom_contract import topics
class Clock:
    moved = 0
    def up(self): return time.ticks_ms() + Clock.moved
    def stamp(self): return "up", self.up()
def ahead(ms):
    Clock.moved += ms
class Settings:
    device, wifi, address = "board-1", None, None
class Board:
    trying = trial = None
    busy = ()
    def __init__(self, ports):
        self.settings, self.clock, self.boot, self.buffer = Settings(), Clock(), 7, Buffer(7, 9)
        self.settings.gateways = []
        for number, port in enumerate(ports):
            self.settings.gateways.append({"id": "gw.%d" % number, "host": "127.0.0.1", "port": port})
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_NONE
        self.connection = connection.Connection(self, context)
    def facts(self): return {}
    def take(self, topic, payload): pass
ports = json.loads(sys.argv[1])
worst = 0
async def ticker():
    global worst
    while True:
        before = time.ticks_ms()
        await asyncio.sleep_ms(5)
        worst = max(worst, time.ticks_diff(time.ticks_ms(), before))
async def until(condition, seconds=20):
    for _ in range(seconds * 100):
        if condition():
            return
        await asyncio.sleep_ms(10)
    raise RuntimeError("it did not come")
"""


class Gateway:
    """A gateway of few words: each connection gets the next of `scripts`, the last one again and again."""

    def __init__(self, folder, *scripts):
        self._authority = TestAuthority(folder)
        cert, key = self._authority.issue("gw.test")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(cert, key)
        self._scripts = scripts
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.connections = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            while True:
                plain, _ = self._server.accept()
                script = self._scripts[min(len(self.connections), len(self._scripts) - 1)]
                self.connections.append(plain)
                threading.Thread(target=self._speak, args=(plain, script), daemon=True).start()

    def _speak(self, plain, script):
        if script is None:  # not even a handshake
            return
        with suppress(OSError):
            connection = self._tls.wrap_socket(plain, server_side=True)
            self.connections.append(connection)
            connection.recv(4096)
            connection.sendall(CONNACK)
            connection.recv(4096)
            connection.sendall(SUBACK + script)

    def close(self):
        for one in [self._server, *self.connections]:
            with suppress(OSError):
                one.close()


@contextmanager
def gateways(folder, *scripts):
    """Give the ports of gateways, each with its scripts."""
    with ExitStack() as stack:
        found = [Gateway(folder / str(number), *one) for number, one in enumerate(scripts)]
        for one in found:
            stack.callback(one.close)
        yield [one.port for one in found]


def at(ports, script):
    return json.loads(run(IMPORTS, script, json.dumps(ports)).splitlines()[-1])


def test_gateways_are_tried_in_order_with_waits_that_double_to_a_minute_and_are_spread():
    """Waits are recorded instead of waited for."""
    script = """
tried, waits = [], []
async def refuse(self, host, port, will, hears):
    tried.append(port)
    raise OSError(111)
connection.Link.open = refuse
class Enough(Exception):
    pass
class Asyncio:
    CancelledError = asyncio.CancelledError
    current_task, create_task = asyncio.current_task, asyncio.create_task
    async def sleep_ms(wait):
        waits[-1].append(wait)
        if len(waits[-1]) == 9:
            raise Enough
connection.asyncio = Asyncio
for _ in range(40):
    waits.append([])
    try:
        asyncio.run(Board(ports).connection.run())
    except Enough:
        pass
print(json.dumps([tried[:9], waits]))
"""
    tried, waits = at([1, 2, 3], script)

    assert tried == [1, 2, 3] * 3
    for number, longest in enumerate([1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]):
        told = [one[number] for one in waits]
        assert longest // 2 <= min(told)
        assert max(told) < longest
        assert max(told) - min(told) > longest // 4  # of 40 boards that lost their gateway at one moment


def test_a_gateway_that_takes_the_connection_and_says_nothing_holds_nothing_up(tmp_path):
    script = """
async def main():
    board = Board(ports)
    asyncio.create_task(ticker())
    asyncio.create_task(board.connection.run())
    await asyncio.sleep_ms(500)
    board.connection.check(board.clock.up())
    before = board.connection.up_since
    ahead(120000)
    board.connection.check(board.clock.up())
    await until(lambda: board.connection.up_since is not None)
    print(json.dumps([before, board.connection.gateway()["id"], worst]))
asyncio.run(main())
"""
    with gateways(tmp_path, [None], [b""]) as ports:
        before, gateway, worst = at(ports, script)

    assert before is None
    assert gateway == "gw.1"
    assert worst < 5000  # a piece of a handshake's cryptography, on a machine that is busy


@pytest.mark.parametrize(
    "last_words", [pytest.param(b"", id="nothing"), pytest.param(b"\x30\x7f\x00\x10half a", id="half a message")]
)
def test_a_gateway_that_falls_silent_is_left_after_45_seconds(tmp_path, last_words):
    script = """
async def main():
    board = Board(ports)
    asyncio.create_task(ticker())
    asyncio.create_task(board.connection.run())
    await until(lambda: board.connection.up_since is not None)
    await asyncio.sleep_ms(300)
    ahead(40000)
    board.connection.check(board.clock.up())
    await asyncio.sleep_ms(100)
    patient = board.connection.up_since is not None and board.connection.reconnects == 0
    ahead(10000)
    board.connection.check(board.clock.up())
    await until(lambda: board.connection.reconnects == 1)
    print(json.dumps([patient, worst]))
asyncio.run(main())
"""
    with gateways(tmp_path, [last_words, b""]) as ports:
        patient, worst = at(ports, script)

    assert patient
    assert worst < 5000


def test_a_gateway_that_reads_no_more_is_left_after_30_seconds_without_an_acknowledgement(tmp_path):
    script = """
async def main():
    board = Board(ports)
    asyncio.create_task(ticker())
    asyncio.create_task(board.connection.run())
    await until(lambda: board.connection.up_since is not None)
    for number in range(64):
        board.buffer.append(topics.TELEMETRY, {"up": number, "values": {"v": "x" * 200}})
    board.connection.wake()
    await asyncio.sleep_ms(300)
    long = b"y" * 4000
    for _ in range(2000):  # more than the sockets between hold
        board.connection.tell(topics.DISCOVERY, long)
    await asyncio.sleep_ms(500)
    ahead(31000)
    board.connection.check(board.clock.up())
    await until(lambda: board.connection.reconnects == 1)
    print(json.dumps([board.buffer.waiting(), worst]))
asyncio.run(main())
"""
    with gateways(tmp_path, [b"", b""]) as ports:
        waiting, worst = at(ports, script)

    assert waiting == 64
    assert worst < 5000


def test_a_gateway_that_is_not_there_is_left_at_once():
    script = """
async def main():
    board = Board(ports)
    asyncio.create_task(ticker())
    task = asyncio.create_task(board.connection.run())
    await asyncio.sleep_ms(1200)
    print(json.dumps([board.connection.gateway()["id"], worst]))
asyncio.run(main())
"""
    first, worst = at([free_port(), free_port()], script)

    assert first in ("gw.1", "gw.0")
    assert worst < 5000


def test_the_state_is_told_again_once_what_had_waited_is_through():
    """So that nobody counts on more from a board that has caught up. (T8)"""
    script = """
from fieldloom_contract import device
sent = []
class Link:
    def __init__(self, name, context): self.acks = []
    async def open(self, host, port, will, hears): pass
    async def send(self, topic, payload): sent.append((topics.parse_device(topic)[1], json.loads(payload)))
    async def receive(self):
        while not self.acks:
            await asyncio.sleep_ms(5)
        return topics.device("board-1", topics.ACK), self.acks.pop(0)
    def close(self): pass
connection.Link = Link
class Told(Board):
    def facts(self): return {"waiting": self.buffer.waiting()}
    def take(self, topic, payload): self.connection.acknowledge(device.parse_ack(payload))
board = Told(ports)
def states():
    return [message["waiting"] for verb, message in sent if verb == topics.STATE]
def measure():
    board.buffer.append(topics.TELEMETRY, {"up": board.clock.up(), "values": {"t": 1}})
def acknowledge(seq):
    board.connection.link.acks.append(json.dumps({"boot": 7, "seq": seq}).encode())
async def main():
    for _ in range(3):
        measure()
    asyncio.create_task(board.connection.run())
    await until(lambda: states() == [3])
    acknowledge(2)
    await until(lambda: board.buffer.waiting() == 1)
    acknowledge(3)
    await until(lambda: len(states()) == 2)
    measure()
    acknowledge(4)
    await until(lambda: not board.buffer.waiting())
    print(json.dumps(states()))
asyncio.run(main())
"""
    assert at([1], script) == [3, 0]


def test_a_broker_whose_gateway_is_dead_is_left_for_the_next(tmp_path):
    """It takes the connection and answers pings, and nobody acknowledges. (D7)"""
    script = """
async def main():
    board = Board(ports)
    asyncio.create_task(board.connection.run())
    await until(lambda: board.connection.up_since is not None)
    board.buffer.append(topics.TELEMETRY, {"up": 1, "values": {"v": 1}})
    board.connection.wake()
    await asyncio.sleep_ms(300)
    ahead(31000)
    board.connection.check(board.clock.up())
    await until(lambda: board.connection.reconnects == 1)
    print(json.dumps([board.connection.gateway()["id"], board.buffer.waiting()]))
asyncio.run(main())
"""
    with gateways(tmp_path, [b""], [b""]) as ports:
        assert at(ports, script) == ["gw.1", 1]


def test_a_home_answers_by_taking_a_connection_and_waiting_for_a_word(tmp_path):
    """What is not there and what ends the connection do not."""
    script = """
async def main():
    found = []
    for port in ports:
        found.append(await home._answers({"host": "127.0.0.1", "port": port}))
    print(json.dumps(found))
asyncio.run(main())
"""
    with socket.create_server(("127.0.0.1", 0)) as server, gateways(tmp_path, [None]) as ports:

        def hang_up():
            server.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        assert at([*ports, free_port(), server.getsockname()[1]], script) == [True, False, False]


def test_a_board_comes_home_after_three_answers_in_a_row_and_more_slowly_where_that_does_not_last():
    """Half an hour after the last return it is as patient as at first. Looks are 20 to 40 s apart. (D7)"""
    script = """
class Link:
    def __init__(self, name, context): pass
    async def open(self, host, port, will, hears):
        opened.append(port)
        if port in dead:
            raise OSError(111)
    async def send(self, topic, payload): pass
    async def ping(self): pass
    async def receive(self):
        await asyncio.sleep_ms(5)
        return topics.device("board-1", topics.TIME), b"{}"
    def close(self): pass
connection.Link = Link
opened, dead, waits = [], set(), []
board = Board(ports)
link = board.connection
async def fall():
    dead.add(1)
    link._fail("the home is gone", False)
    await until(lambda: link.place == 1 and link.is_up)
    dead.clear()
async def look(answer):
    async def answers(gateway):
        assert gateway["id"] == "gw.0"
        return answer
    home._answers = answers
    before = link.home
    link.check(board.clock.up())
    waits.append(link._look_at - board.clock.up())
    await until(lambda: link.home is not before)
    ahead(40000)
    link._heard = board.clock.up()
async def come_home(*answers):
    looks = 0
    answers = list(answers)
    while link.place:
        await look(answers.pop(0) if answers else True)
        looks += 1
    await until(lambda: link.is_up)
    return looks
async def main():
    asyncio.create_task(link.run())
    await until(lambda: link.is_up)
    found = []
    await fall()
    found.append(await come_home(True, True, False))
    await fall()
    found.append(await come_home())
    await fall()
    board.busy = {"renewal"}
    for _ in range(13):
        await look(True)
    board.busy = ()
    found.append(link.place)
    found.append(await come_home())
    ahead(1800000)
    link._heard = board.clock.up()
    await fall()
    found.append(await come_home())
    print(json.dumps([found, min(waits), max(waits), opened[-2:]]))
asyncio.run(main())
"""
    found, shortest, longest, opened = at([1, 2, 3], script)

    assert found == [3 + 3, 6, 1, 1, 3]
    assert shortest >= 19_000
    assert longest <= 40_000
    assert opened == [2, 1]


COMMAND = "fl/v1/d/board-1/command"


def message(payload, head=b"\x30"):
    """An MQTT packet with a message."""
    body = len(COMMAND).to_bytes(2, "big") + COMMAND.encode() + payload
    size, packed = len(body), head
    while size > 0x7F:
        packed += bytes([size & 0x7F | 0x80])
        size >>= 7
    return packed + bytes([size]) + body


LONG = {"id": "c1", "parameters": {"value": "ü" * 1900}, "after": [1, 2.5, None]}
PACKED = json.dumps(LONG, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("room", "wanted"),
    [(True, [len(PACKED), LONG, "short"]), (False, [None, None, "short"])],
)
def test_a_message_too_long_for_memory_waits_on_flash_and_one_without_room_there_is_passed_over(tmp_path, room, wanted):
    """F1, F3: it is read from there, its length is known, and the next message comes as ever."""
    script = """
told = [None, None]
class Hearing(Board):
    def take(self, topic, payload):
        assert topic == "fl/v1/d/board-1/command"
        if hasattr(payload, "load"):
            told[:] = [len(payload), payload.load()]
        else:
            told.append(bytes(payload).decode())
async def main():
    board = Hearing(ports)
    if sys.argv[2] == "full":
        try:
            for number in range(9999):
                with open("/filler%d" % number, "wb") as file:
                    file.write(bytes(4000))
        except OSError:
            pass
    asyncio.create_task(board.connection.run())
    await until(lambda: len(told) == 3)
    print(json.dumps(told))
asyncio.run(main())
"""
    words = message(PACKED) + message(b"short")
    with gateways(tmp_path, [words]) as ports:
        said = run(IMPORTS, script, json.dumps(ports), "free" if room else "full")

    assert json.loads(said.splitlines()[-1]) == wanted


def test_no_packet_but_a_message_goes_to_flash(tmp_path):
    """F1: what is too long for memory and no message is passed over."""
    script = """
told = []
class Hearing(Board):
    def take(self, topic, payload):
        told.append(bytes(payload).decode())
async def main():
    board = Hearing(ports)
    asyncio.create_task(board.connection.run())
    await until(lambda: told)
    print(json.dumps([told, "message" in os.listdir("/")]))
asyncio.run(main())
"""
    with gateways(tmp_path, [message(b"x" * 3000, b"\xd0") + message(b"short")]) as ports:
        assert at(ports, script) == [["short"], False]


def test_asyncio_is_its_core_and_has_all_that_its_package_has():
    said = run(
        "import asyncio\nfrom fieldloom_agent import tasks",
        """
package, core = asyncio, sys.modules["asyncio.core"]
import asyncio, asyncio.core
from asyncio import Lock
assert asyncio is core is asyncio.core
for name in ("run", "Event", "ThreadSafeFlag", "gather", "wait_for_ms", "open_connection", "StreamWriter"):
    assert getattr(asyncio, name) is getattr(package, name), name
try:
    asyncio.nothing
except AttributeError as error:
    print(error)
""",
    )

    assert said == "nothing\n"
